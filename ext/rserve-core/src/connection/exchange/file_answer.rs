//! Answers with files, which no thread of Ruby's gives either.

use std::cell::RefCell;
use std::io::{IoSlice, Read, Seek, SeekFrom};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rserve_http1::content::ranges::Part;
use rserve_http1::{ResponseFacts, ResponsePlan, TransferEncoding, encode};

use super::own_answer::{end, field, spelling};
use super::{Activity, AfterSending, Exchange};
use crate::config::options::Options;
use crate::content::{Answer, Found, Question, Selected, Site, answer, salt};
use crate::net::Peer;

/// A file of up to so many octets is read, and goes out with the head.
const JOINED: u64 = 16 * 1024;

thread_local! {
    /// A head, with a small file behind it.
    static FIRST: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl Exchange {
    /// Whether the complete request may be for a file of `site`, as far as that is told without waiting for a disk.
    pub(crate) fn may_be_for_file(&self, site: &Site, options: &Options) -> bool {
        let request = &self.request;
        request.refusal.is_none()
            && matches!(request.head.method.of(&request.octets), b"GET" | b"HEAD")
            && request.is_supported(options)
            && !site.rules_out(request.head.path.of(&request.octets))
    }

    /// Whether the complete request is for a file is seen later: nothing else is done before.
    pub(crate) fn leave_undecided(&mut self) {
        self.undecided = true;
    }

    /// See [`Exchange::leave_undecided`]; told once.
    pub(crate) fn take_undecided(&mut self) -> bool {
        std::mem::take(&mut self.undecided)
    }

    /// Whether a request was answered with a file, which may have taken long; told once.
    pub(crate) fn take_answered_with_file(&mut self) -> bool {
        std::mem::take(&mut self.answered_with_file)
    }

    /// The next step looks for a file, or reads one.
    pub(super) fn awaits_file(&self) -> bool {
        self.undecided || (self.activity == Activity::Sending && self.outgoing.reads_file())
    }

    /// Answers the complete request with a file of `site`. `None` when it is for none, and nothing has changed. `stays` is
    /// whether the server lets another request follow.
    pub(crate) fn answer_with_file(
        &mut self,
        site: &Site,
        options: &Options,
        peer: Peer,
        stays: bool,
    ) -> Option<AfterSending> {
        let (head, octets) = (&self.request.head, self.request.octets.as_slice());
        let question = Question::of(head, octets);
        let now = SystemTime::now();
        let selected = match site.find(head.path.of(octets), question.accepted, now) {
            Found::File(selected) => selected,
            Found::Nothing => return None,
            Found::Exhausted => {
                let request = self.take_request();
                self.begin_access(&request, peer);
                return Some(self.answer_busy(request, options, stays));
            }
        };
        let now = now.duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
        let answer = answer::answer(&question, &selected.content, now, salt());
        let plan = ResponsePlan::of(ResponseFacts {
            version: head.version,
            head_request: question.head_request,
            status: answer.status,
            content_length: (answer.status != 304).then(|| answer.length()),
            transfer_encoding: TransferEncoding::Absent,
            keep_alive: stays && self.request.may_be_followed(options),
        });
        let mut first = FIRST.take();
        first.clear();
        encode::status_line(&mut first, head.version, answer.status);
        for (name, value) in &answer.fields {
            field(&mut first, name.as_bytes(), value, spelling(options));
        }
        plan.write_fields(&mut first, spelling(options));
        end(&mut first, options);
        let rest = match question.head_request {
            true => Vec::new(),
            false => read_small(&answer, &selected, &mut first)?,
        };
        let (status, stamp) = (answer.status, selected.stamp());
        let file = Arc::new(selected.file);

        self.answered_with_file = true;
        let mut request = self.take_request();
        self.begin_access(&request, peer);
        self.note_status(status);
        self.recycle(&mut request);
        let mut sent = match rest.is_empty() {
            true if !plan.keep_alive => self.write_last(&first, options),
            true => self.write(&[IoSlice::new(&first)], options),
            false => self.queue(&[IoSlice::new(&first)], options),
        };
        FIRST.set(first);
        for part in rest {
            match part {
                Part::Octets(octets) => {
                    sent = sent.and_then(|()| self.queue(&[IoSlice::new(&octets)], options))
                }
                Part::File(range) => {
                    self.write_file(Arc::clone(&file), range.start, range.end - range.start, Some(stamp));
                }
            }
        }
        Some(match sent {
            Err(_) => AfterSending::Abort,
            Ok(()) if plan.keep_alive => AfterSending::KeepAlive,
            Ok(()) => AfterSending::Close,
        })
    }
}

/// Appends a small file to the head, and gives the parts that are still to be sent; `None` when the file is not what it was
/// any more.
fn read_small(answer: &Answer<'_>, selected: &Selected<'_>, head: &mut Vec<u8>) -> Option<Vec<Part>> {
    match answer.parts.as_slice() {
        [Part::File(range)] if range.end - range.start <= JOINED => {
            let (length, mut file) = (range.end - range.start, &selected.file);
            if range.start > 0 {
                file.seek(SeekFrom::Start(range.start)).ok()?;
            }
            head.reserve(length as usize);
            let read = file.take(length).read_to_end(head).ok()?;
            (read as u64 == length).then(Vec::new)
        }
        parts => Some(parts.to_vec()),
    }
}
