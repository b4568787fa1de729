//! What of OpenSSL has no safe wrapper.

#[cfg(openssl3)]
mod tickets;

use std::ffi::{c_int, c_long, c_void};
use std::sync::Arc;

#[cfg(not(openssl3))]
use openssl::error::ErrorStack;
use openssl::ssl::SslContextBuilder;

#[cfg(openssl3)]
pub(crate) use tickets::set_ticket_keys;

/// `SSL_CTRL_SET_DH_AUTO` of `openssl/ssl.h`.
const SET_DH_AUTO: c_int = 118;

unsafe extern "C" {
    // In the libssl that the openssl crate links.
    fn SSL_CTX_set_timeout(context: *mut c_void, seconds: c_long) -> c_long;
    fn SSL_CTX_ctrl(context: *mut c_void, command: c_int, number: c_long, pointer: *mut c_void) -> c_long;
}

/// Sessions of `context` may be resumed for so many seconds.
pub(crate) fn set_session_timeout(context: &mut SslContextBuilder, seconds: u32) {
    // SAFETY: `as_ptr` is a live SSL_CTX that nobody else uses while it is being built.
    unsafe { SSL_CTX_set_timeout(context.as_ptr().cast(), c_long::from(seconds)) };
}

/// Lets OpenSSL choose the group of a DHE exchange by the strength of the key (TLS 1.2).
pub(crate) fn choose_dh_parameters(context: &mut SslContextBuilder) {
    // SAFETY: as above; the command takes a number and no pointer.
    unsafe { SSL_CTX_ctrl(context.as_ptr().cast(), SET_DH_AUTO, 1, std::ptr::null_mut()) };
}

/// What session tickets are encrypted (AES-256) and authenticated (HMAC-SHA256) with.
#[cfg_attr(not(openssl3), allow(dead_code, reason = "nothing is sealed with it"))]
pub(crate) struct TicketKey {
    /// Told in the ticket.
    pub(crate) name: [u8; 16],
    pub(crate) cipher: [u8; 32],
    pub(crate) mac: [u8; 32],
}

/// Those that are good at the moment: the first one seals, any of them opens. `None` when there can be none.
pub(crate) type TicketKeys = dyn Fn() -> Option<Arc<[TicketKey]>> + Send + Sync;

/// Whether [`set_ticket_keys`] does anything: OpenSSL 1.1, for which this can be built, has no such function.
pub(crate) const SETS_TICKET_KEYS: bool = cfg!(openssl3);

#[cfg(not(openssl3))]
pub(crate) fn set_ticket_keys(_: &mut SslContextBuilder, _: Arc<TicketKeys>) -> Result<(), ErrorStack> {
    Ok(())
}
