//! Session tickets that are sealed with keys of the server's instead of a context's own, by OpenSSL 3.

use std::ffi::{CStr, c_char, c_int, c_uchar, c_uint, c_void};
use std::ptr;
use std::sync::{Arc, OnceLock};

use foreign_types::ForeignTypeRef;
use openssl::cipher::Cipher;
use openssl::cipher_ctx::CipherCtxRef;
use openssl::error::ErrorStack;
use openssl::ex_data::Index;
use openssl::ssl::{SslContext, SslContextBuilder, SslRef, SslVersion};

use super::TicketKeys;

unsafe extern "C" {
    // In the libraries that the openssl crate links.
    fn SSL_CTX_set_tlsext_ticket_key_evp_cb(context: *mut c_void, callback: TicketCallback) -> c_int;
    fn EVP_MAC_init(
        mac: *mut c_void,
        key: *const c_uchar,
        length: usize,
        parameters: *const Parameter,
    ) -> c_int;
}

/// `OSSL_PARAM` of `openssl/core.h`.
#[repr(C)]
struct Parameter {
    key: *const c_char,
    data_type: c_uint,
    data: *const c_void,
    data_size: usize,
    return_size: usize,
}

type TicketCallback = unsafe extern "C" fn(
    ssl: *mut c_void,
    name: *mut c_uchar,
    iv: *mut c_uchar,
    cipher: *mut c_void,
    mac: *mut c_void,
    seals: c_int,
) -> c_int;

type TicketIndex = Index<SslContext, Arc<TicketKeys>>;

static TICKETS: OnceLock<TicketIndex> = OnceLock::new();

/// Lets `keys` say what the tickets of `context` are sealed with, instead of keys of its own.
///
/// # Errors
///
/// OpenSSL has no memory.
pub(crate) fn set_ticket_keys(
    context: &mut SslContextBuilder,
    keys: Arc<TicketKeys>,
) -> Result<(), ErrorStack> {
    let index = match TICKETS.get() {
        Some(index) => *index,
        None => SslContext::new_ex_index().map(|index| *TICKETS.get_or_init(|| index))?,
    };
    context.set_ex_data(index, keys);
    // SAFETY: as above; the function has the type that `openssl/ssl.h` wants, and is there for ever.
    match unsafe { SSL_CTX_set_tlsext_ticket_key_evp_cb(context.as_ptr().cast(), use_ticket_key) } {
        1 => Ok(()),
        _ => Err(ErrorStack::get()),
    }
}

/// No ticket is made, and one that came is not known: a whole handshake.
const NO_KEY: c_int = 0;
const READY: c_int = 1;
/// The session goes on, and the client gets another ticket.
const READY_TO_RENEW: c_int = 2;

/// See SSL_CTX_set_tlsext_ticket_key_evp_cb(3). Nothing here panics or calls back.
unsafe extern "C" fn use_ticket_key(
    ssl: *mut c_void,
    name: *mut c_uchar,
    iv: *mut c_uchar,
    cipher: *mut c_void,
    mac: *mut c_void,
    seals: c_int,
) -> c_int {
    // SAFETY: OpenSSL lends the connection, sixteen octets each for name and iv, and both contexts for this call.
    let (ssl, cipher, name, iv) = unsafe {
        let name = &mut *name.cast::<[u8; 16]>();
        let iv = &mut *iv.cast::<[u8; 16]>();
        (SslRef::from_ptr(ssl.cast()), CipherCtxRef::from_ptr_mut(cipher.cast()), name, iv)
    };
    let seals = seals == 1;
    let keys = TICKETS.get().and_then(|index| ssl.ssl_context().ex_data(*index)?());
    let Some(keys) = keys else { return NO_KEY };
    let found = if seals { keys.first() } else { keys.iter().find(|key| key.name == *name) };
    let Some(key) = found else { return NO_KEY };
    if seals {
        *name = key.name;
        if openssl::rand::rand_bytes(iv).is_err() {
            return NO_KEY;
        }
    }
    let code = Some(Cipher::aes_256_cbc());
    let ready = match seals {
        true => cipher.encrypt_init(code, Some(&key.cipher), Some(iv)),
        false => cipher.decrypt_init(code, Some(&key.cipher), Some(iv)),
    };
    // SAFETY: `mac` is lent as above.
    if ready.is_err() || !unsafe { begin_hmac(mac, &key.mac) } {
        return NO_KEY;
    }
    // A ticket of TLS 1.3 is for one use (RFC 8446 appendix C.4); an older one, until its key is.
    let fresh = keys.first().is_some_and(|first| first.name == *name);
    match seals || fresh && ssl.version2() != Some(SslVersion::TLS1_3) {
        true => READY,
        false => READY_TO_RENEW,
    }
}

/// # Safety
///
/// `mac` is a live EVP_MAC_CTX of HMAC.
unsafe fn begin_hmac(mac: *mut c_void, key: &[u8; 32]) -> bool {
    /// `OSSL_PARAM_UTF8_STRING`
    const TEXT: c_uint = 4;
    const DIGEST: &CStr = c"SHA256";
    let end = Parameter { key: ptr::null(), data_type: 0, data: ptr::null(), data_size: 0, return_size: 0 };
    let digest = Parameter {
        key: c"digest".as_ptr(),
        data_type: TEXT,
        data: DIGEST.as_ptr().cast(),
        data_size: DIGEST.to_bytes().len(),
        return_size: 0,
    };
    let parameters = [digest, end];
    // SAFETY: key and parameters live until the call is over, which copies what it keeps; the list ends with a null key.
    unsafe { EVP_MAC_init(mac, key.as_ptr(), key.len(), parameters.as_ptr()) == 1 }
}
