//! What the client wants of the server (RFC 9113 §6.5).

use super::{Event, Session, WINDOW_MOST};
use crate::frame::{self, Head, MAX_FRAME, flag, setting};
use crate::reason::Reason;

impl Session {
    pub(super) fn settings(&mut self, head: Head, payload: &[u8], now: u64) -> Result<Event, Reason> {
        if head.stream != 0 {
            return Err(Reason::ProtocolError);
        }
        if head.has(flag::ACK) {
            return if payload.is_empty() { Ok(Event::Nothing) } else { Err(Reason::FrameSizeError) };
        }
        if !payload.len().is_multiple_of(6) {
            return Err(Reason::FrameSizeError);
        }
        self.spend_idle(now)?;
        let before = self.first_window;
        for entry in payload.chunks_exact(6) {
            let name = u16::from_be_bytes([entry[0], entry[1]]);
            let value = u32::from_be_bytes([entry[2], entry[3], entry[4], entry[5]]);
            match name {
                setting::ENABLE_PUSH if value > 1 => return Err(Reason::ProtocolError),
                setting::INITIAL_WINDOW_SIZE => self.resize_windows(value)?,
                setting::MAX_FRAME_SIZE if !(MAX_FRAME as u32..=0xff_ffff).contains(&value) => {
                    return Err(Reason::ProtocolError);
                }
                // The table of what is sent here stays empty, nothing is pushed, and responses are not refused for their
                // fields (RFC 9113 §10.5.1 lets a client do that).
                _ => {}
            }
        }
        frame::settings_ack(&mut self.out);
        Ok(if self.first_window > before { Event::Window { stream: None } } else { Event::Nothing })
    }

    fn resize_windows(&mut self, size: u32) -> Result<(), Reason> {
        let size = i64::from(size);
        if size > WINDOW_MOST {
            return Err(Reason::FlowControlError);
        }
        let change = size - self.first_window;
        self.first_window = size;
        for stream in self.streams.iter_mut() {
            stream.window += change;
            if stream.window > WINDOW_MOST {
                return Err(Reason::FlowControlError);
            }
        }
        Ok(())
    }
}
