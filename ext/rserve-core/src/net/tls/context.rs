//! What a TLS listener offers: certificates, versions, ciphers, and which clients it lets in.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use openssl::asn1::Asn1Time;
use openssl::error::ErrorStack;
use openssl::ex_data::Index;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{
    AlpnError, NameType, SniError, Ssl, SslContext, SslContextBuilder, SslMethod, SslMode, SslOptions,
    SslRef, SslSessionCacheMode, SslVerifyMode, SslVersion,
};
use openssl::x509::verify::X509VerifyFlags;
use openssl::x509::{X509, X509Name, X509StoreContext, X509StoreContextRef};

use super::Tickets;
use crate::sys::tls::SETS_TICKET_KEYS;

/// Ciphers up to TLS 1.2 unless the operator says otherwise (Puma, `mini_ssl.c`).
const CIPHERS: &str = "HIGH:!aNULL@STRENGTH";

/// Where a PEM text comes from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Pem {
    /// A file, read again at each [`Context::reload`].
    File(PathBuf),
    /// The text itself.
    Text(Vec<u8>),
}

/// A certificate (its chain may follow it) with its private key.
#[derive(Clone)]
pub struct Identity {
    /// `cert`, `cert_pem`
    pub certificate: Pem,
    /// `key`, `key_pem`
    pub key: Pem,
    /// What `key_password_command` gave.
    pub key_password: Option<String>,
}

/// Whether sessions of TLS 1.2 and older are also kept here (`reuse`). Tickets work in any case.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum SessionCache {
    /// They are not.
    #[default]
    Off,
    /// They are.
    On {
        /// How many; `None` leaves it to OpenSSL (20480).
        size: Option<i32>,
        /// For how many seconds; `None` leaves it to OpenSSL (300).
        timeout: Option<u32>,
    },
}

/// A listener's options, `ssl_bind`'s.
#[derive(Clone)]
pub struct Options {
    /// What clients see; the first one unless a client asks for a name that another one has (SNI).
    pub identities: Vec<Identity>,
    /// Authorities of client certificates, and where the chain of our own is completed from.
    pub ca: Option<PathBuf>,
    /// Ask clients for a certificate; a bad one ends the connection.
    pub verify_peer: bool,
    /// No certificate ends the connection, too.
    pub require_certificate: bool,
    /// `X509_V_FLAG_*` bits.
    pub verification_flags: u64,
    /// OpenSSL's list for TLS 1.2 and older.
    pub cipher_filter: Option<String>,
    /// OpenSSL's list for TLS 1.3.
    pub ciphersuites: Option<String>,
    /// TLS 1.1 at least.
    pub no_tlsv1: bool,
    /// TLS 1.2 at least.
    pub no_tlsv1_1: bool,
    /// See [`SessionCache`].
    pub session_cache: SessionCache,
    /// What sessions are resumed with at every process of the server, and after restarts. Not those of clients that had to
    /// show a certificate: they are good until the server, or its certificates, are new.
    pub tickets: Option<Arc<Tickets>>,
}

/// Something that the operator has to mend; one line that names the option and the file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read.
    #[error("{option} file '{path}': {source}")]
    Unreadable {
        /// The option that names it.
        option: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What a file or text holds is of no use.
    #[error("{place}: {reason}")]
    Unusable {
        /// Option and file.
        place: String,
        /// Why, in OpenSSL's words where they are known.
        reason: String,
    },
    /// An option that OpenSSL does not take.
    #[error("{option}: {reason}")]
    Option {
        /// The option.
        option: &'static str,
        /// Why, in OpenSSL's words.
        reason: String,
    },
}

/// A listener's context. Made once, before any fork: certificates are read, and found to be of use, before there is a worker.
pub struct Context {
    options: Options,
    /// No other context accepts its sessions, unless they share `tickets`.
    own: [u8; 32],
    /// Clients may choose HTTP/2.
    http2: Arc<AtomicBool>,
    current: RwLock<SslContext>,
}

impl Context {
    /// Reads and checks everything that `options` name.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub fn new(options: Options) -> Result<Self, Error> {
        let mut own = [0; 32];
        openssl::rand::rand_bytes(&mut own).map_err(|stack| refused("session", &stack))?;
        let http2 = Arc::new(AtomicBool::new(false));
        let current = RwLock::new(build(&options, &own, &http2)?);
        Ok(Self { options, own, http2, current })
    }

    /// Reads the files again, for connections to come; those that are open keep what they have.
    ///
    /// # Errors
    ///
    /// As [`Context::new`], and an expired certificate: what was there before stays.
    pub fn reload(&self) -> Result<(), Error> {
        if let Some(expired) = expired(&self.options)?.into_iter().next() {
            return Err(Error::Unusable { place: expired, reason: "the certificate has expired".into() });
        }
        let built = build(&self.options, &self.own, &self.http2)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = built;
        Ok(())
    }

    /// Which certificates have expired, as `option` or `option file 'path'`.
    ///
    /// # Errors
    ///
    /// As [`Context::new`].
    pub fn expired(&self) -> Result<Vec<String>, Error> {
        expired(&self.options)
    }

    /// Every file that was read.
    pub fn files(&self) -> Vec<&Path> {
        let pems = self.options.identities.iter().flat_map(|identity| [&identity.certificate, &identity.key]);
        let files = pems.filter_map(|pem| match pem {
            Pem::File(path) => Some(path.as_path()),
            Pem::Text(_) => None,
        });
        files.chain(self.options.ca.as_deref()).collect()
    }

    /// From now on clients may choose HTTP/2 (ALPN).
    pub(crate) fn offer_http2(&self) {
        self.http2.store(true, Ordering::Relaxed);
    }

    /// Whether clients are asked for certificates.
    pub fn verifies(&self) -> bool {
        self.options.verify_peer
    }

    /// The server's side of one connection.
    pub(crate) fn begin(&self) -> Result<Ssl, ErrorStack> {
        let mut ssl = Ssl::new(&self.current.read().unwrap_or_else(PoisonError::into_inner))?;
        if self.options.verify_peer {
            ssl.set_ex_data(rejected_index()?, Rejected::default());
        }
        ssl.set_accept_state();
        Ok(ssl)
    }
}

/// The certificate that a verification failed at, in DER: a client's or one of its authorities'.
type Rejected = OnceLock<Vec<u8>>;

fn rejected_index() -> Result<Index<Ssl, Rejected>, ErrorStack> {
    static INDEX: OnceLock<Index<Ssl, Rejected>> = OnceLock::new();
    match INDEX.get() {
        Some(index) => Ok(*index),
        None => Ssl::new_ex_index().map(|index| *INDEX.get_or_init(|| index)),
    }
}

/// The certificate that was refused on `ssl`, in DER.
pub(crate) fn rejected(ssl: &SslRef) -> Option<Vec<u8>> {
    ssl.ex_data(rejected_index().ok()?)?.get().cloned()
}

/// Keeps the certificate that a verification fails at, for the log.
fn note_rejected(verified: bool, chain: &mut X509StoreContextRef) -> bool {
    if !verified
        && let Ok(index) = X509StoreContext::ssl_idx()
        && let Some(ssl) = chain.ex_data(index)
        && let Ok(index) = rejected_index()
        && let Some(slot) = ssl.ex_data(index)
        && let Some(der) = chain.current_cert().and_then(|certificate| certificate.to_der().ok())
    {
        let _ = slot.set(der);
    }
    verified
}

fn build(options: &Options, own: &[u8; 32], http2: &Arc<AtomicBool>) -> Result<SslContext, Error> {
    let session_id = &session_id(options, own)?;
    let mut first = None;
    let mut others = Vec::new();
    for identity in options.identities.iter().rev() {
        let chain = certificates(identity)?;
        let key = private_key(identity)?;
        let mut context = bare(options, session_id, http2)?;
        let place = place("cert", &identity.certificate);
        let (leaf, rest) = chain.split_first().ok_or_else(|| no_certificate(&place))?;
        let unusable = |stack: ErrorStack| Error::Unusable { place: place.clone(), reason: reason(&stack) };
        context.set_certificate(leaf).map_err(unusable)?;
        for certificate in rest {
            context.add_extra_chain_cert(certificate.clone()).map_err(unusable)?;
        }
        let mismatch = |stack: ErrorStack| Error::Unusable {
            place: self::place("key", &identity.key),
            reason: format!("does not belong to {place} ({})", reason(&stack)),
        };
        context.set_private_key(&key).map_err(mismatch)?;
        context.check_private_key().map_err(mismatch)?;
        others.extend(first.replace((names(leaf), context)));
    }
    let Some((_, mut context)) = first else {
        return Err(Error::Option { option: "cert", reason: "there is none".into() });
    };
    others.reverse();
    if !others.is_empty() {
        let named: Vec<_> = others.into_iter().map(|(names, context)| (names, context.build())).collect();
        context.set_servername_callback(move |ssl, _alert| {
            let asked = ssl.servername(NameType::HOST_NAME).map(str::to_ascii_lowercase);
            let found = asked.and_then(|asked| {
                named.iter().find(|(names, _)| names.iter().any(|name| covers(name, &asked)))
            });
            if let Some((_, context)) = found {
                ssl.set_ssl_context(context).map_err(|_| SniError::ALERT_FATAL)?;
            }
            Ok(())
        });
    }
    Ok(context.build())
}

/// Sessions are resumed where this is the same. Who resumes one is asked for nothing that was settled when it began: the
/// server's name, client's certificate, version, ciphers.
fn session_id(options: &Options, own: &[u8; 32]) -> Result<[u8; 32], Error> {
    if shared_tickets(options).is_none() {
        return Ok(*own);
    }
    let Options { cipher_filter, ciphersuites, no_tlsv1, no_tlsv1_1, .. } = options;
    let mut settled = format!("{:?}", (cipher_filter, ciphersuites, no_tlsv1, no_tlsv1_1)).into_bytes();
    for identity in &options.identities {
        let chain = certificates(identity)?;
        let leaf = chain.first().ok_or_else(|| no_certificate(&place("cert", &identity.certificate)))?;
        settled.extend(format!("{:?}", names(leaf)).into_bytes());
        settled.extend(leaf.subject_name().to_der().map_err(|stack| refused("cert", &stack))?);
    }
    Ok(openssl::sha::sha256(&settled))
}

fn shared_tickets(options: &Options) -> Option<&Arc<Tickets>> {
    options.tickets.as_ref().filter(|_| SETS_TICKET_KEYS && !options.verify_peer)
}

/// A context with everything but a certificate.
fn bare(options: &Options, session_id: &[u8], http2: &Arc<AtomicBool>) -> Result<SslContextBuilder, Error> {
    let mut context =
        SslContextBuilder::new(SslMethod::tls_server()).map_err(|stack| refused("ssl", &stack))?;
    context.set_options(
        SslOptions::ALL
            | SslOptions::NO_SSLV2
            | SslOptions::NO_SSLV3
            | SslOptions::NO_COMPRESSION
            | SslOptions::NO_RENEGOTIATION
            | SslOptions::CIPHER_SERVER_PREFERENCE
            | SslOptions::SINGLE_ECDH_USE
            | SslOptions::SINGLE_DH_USE
            // Where a request ends is HTTP's to say.
            | SslOptions::IGNORE_UNEXPECTED_EOF,
    );
    // What is written may be retried from another place (a response moves to the poller's buffer).
    context.set_mode(
        SslMode::ENABLE_PARTIAL_WRITE | SslMode::ACCEPT_MOVING_WRITE_BUFFER | SslMode::RELEASE_BUFFERS,
    );
    context.set_read_ahead(true);
    let least = match (options.no_tlsv1, options.no_tlsv1_1) {
        (_, true) => Some(SslVersion::TLS1_2),
        (true, false) => Some(SslVersion::TLS1_1),
        (false, false) => None,
    };
    if let Some(least) = least {
        context.set_min_proto_version(Some(least)).map_err(|stack| refused("no_tlsv1", &stack))?;
    }
    let ciphers = options.cipher_filter.as_deref().unwrap_or(CIPHERS);
    context.set_cipher_list(ciphers).map_err(|stack| refused("ssl_cipher_filter", &stack))?;
    if let Some(suites) = &options.ciphersuites {
        context.set_ciphersuites(suites).map_err(|stack| refused("ssl_ciphersuites", &stack))?;
    }
    crate::sys::tls::choose_dh_parameters(&mut context);
    trust(&mut context, options)?;
    context.set_session_id_context(session_id).map_err(|stack| refused("reuse", &stack))?;
    if let Some(tickets) = shared_tickets(options).cloned() {
        let keys = Arc::new(move || tickets.keys());
        crate::sys::tls::set_ticket_keys(&mut context, keys).map_err(|stack| refused("tickets", &stack))?;
    }
    match options.session_cache {
        SessionCache::Off => {
            context.set_session_cache_mode(SslSessionCacheMode::OFF);
        }
        SessionCache::On { size, timeout } => {
            context.set_session_cache_mode(SslSessionCacheMode::SERVER);
            if let Some(size) = size {
                context.set_session_cache_size(size);
            }
            if let Some(seconds) = timeout {
                crate::sys::tls::set_session_timeout(&mut context, seconds);
            }
        }
    }
    let http2 = Arc::clone(http2);
    context.set_alpn_select_callback(move |ssl, offered| {
        // RFC 9113 §9.2: not with an older TLS.
        let modern = || matches!(ssl.version2(), Some(SslVersion::TLS1_2 | SslVersion::TLS1_3));
        let known = match http2.load(Ordering::Relaxed) && modern() {
            true => &b"\x02h2\x08http/1.1"[..],
            false => b"\x08http/1.1",
        };
        // A client that offers only what is not spoken here is served all the same, as by a server without ALPN: then
        // what is chosen is not of `known`, but the client's first.
        openssl::ssl::select_next_proto(known, offered)
            .filter(|chosen| protocols(known).any(|protocol| protocol == *chosen))
            .ok_or(AlpnError::NOACK)
    });
    Ok(context)
}

/// The names in a list of ALPN's.
fn protocols(mut list: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = list.split_first()?;
        let (name, rest) = rest.split_at_checked(usize::from(*length))?;
        list = rest;
        Some(name)
    })
}

fn trust(context: &mut SslContextBuilder, options: &Options) -> Result<(), Error> {
    if let Some(ca) = &options.ca {
        let unusable = |stack: ErrorStack| Error::Unusable {
            place: format!("ca file '{}'", ca.display()),
            reason: reason(&stack),
        };
        read("ca", ca)?;
        context.set_ca_file(ca).map_err(unusable)?;
        if options.verify_peer {
            context.set_client_ca_list(X509Name::load_client_ca_file(ca).map_err(unusable)?);
        }
    }
    if options.verification_flags != 0 {
        let flags = X509VerifyFlags::from_bits_retain(options.verification_flags as _);
        context.verify_param_mut().set_flags(flags).map_err(|stack| refused("verification_flags", &stack))?;
    }
    match options.verify_peer {
        true => {
            let mut mode = SslVerifyMode::PEER;
            mode.set(SslVerifyMode::FAIL_IF_NO_PEER_CERT, options.require_certificate);
            context.set_verify_callback(mode, note_rejected);
        }
        false => context.set_verify(SslVerifyMode::NONE),
    }
    Ok(())
}

fn certificates(identity: &Identity) -> Result<Vec<X509>, Error> {
    let place = place("cert", &identity.certificate);
    let octets = octets("cert", &identity.certificate)?;
    let chain = X509::stack_from_pem(&octets)
        .map_err(|stack| Error::Unusable { place: place.clone(), reason: reason(&stack) })?;
    if chain.is_empty() { Err(no_certificate(&place)) } else { Ok(chain) }
}

fn no_certificate(place: &str) -> Error {
    Error::Unusable { place: place.into(), reason: "no certificate in PEM format".into() }
}

fn private_key(identity: &Identity) -> Result<PKey<Private>, Error> {
    let octets = octets("key", &identity.key)?;
    let mut encrypted = false;
    // Without a callback OpenSSL would ask at the terminal.
    let password = |buffer: &mut [u8]| {
        encrypted = true;
        let password = identity.key_password.as_deref().unwrap_or("").as_bytes();
        let length = password.len().min(buffer.len());
        buffer[..length].copy_from_slice(&password[..length]);
        Ok(length)
    };
    PKey::private_key_from_pem_callback(&octets, password).map_err(|stack| Error::Unusable {
        place: place("key", &identity.key),
        reason: match (encrypted, &identity.key_password) {
            (true, None) => "it is encrypted, and there is no key_password_command".into(),
            (true, Some(_)) => format!("key_password_command gave the wrong password ({})", reason(&stack)),
            (false, _) => reason(&stack),
        },
    })
}

fn expired(options: &Options) -> Result<Vec<String>, Error> {
    let now = Asn1Time::days_from_now(0).map_err(|stack| refused("cert", &stack))?;
    let mut expired = Vec::new();
    for identity in &options.identities {
        if certificates(identity)?.first().is_some_and(|leaf| leaf.not_after() < now) {
            expired.push(place("cert", &identity.certificate));
        }
    }
    Ok(expired)
}

/// The names that `certificate` is for, in lower case.
fn names(certificate: &X509) -> Vec<String> {
    let names = certificate.subject_alt_names();
    names.iter().flatten().filter_map(|name| name.dnsname()).map(str::to_ascii_lowercase).collect()
}

/// Whether `pattern`, a name that may start with `*.`, stands for `name` (RFC 6125 §6.4.3).
fn covers(pattern: &str, name: &str) -> bool {
    match pattern.strip_prefix("*.") {
        Some(parent) => name.split_once('.').is_some_and(|(_, rest)| rest == parent),
        None => pattern == name,
    }
}

fn octets(option: &'static str, pem: &Pem) -> Result<Vec<u8>, Error> {
    match pem {
        Pem::File(path) => read(option, path),
        Pem::Text(text) => Ok(text.clone()),
    }
}

fn read(option: &'static str, path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(|source| Error::Unreadable { option, path: path.into(), source })
}

fn place(option: &str, pem: &Pem) -> String {
    match pem {
        Pem::File(path) => format!("{option} file '{}'", path.display()),
        Pem::Text(_) => format!("{option}_pem"),
    }
}

fn refused(option: &'static str, stack: &ErrorStack) -> Error {
    Error::Option { option, reason: reason(stack) }
}

/// The first of OpenSSL's reasons, which is the one that caused the others.
fn reason(stack: &ErrorStack) -> String {
    let first = stack.errors().first();
    first.and_then(|error| error.reason()).unwrap_or("OpenSSL gives no reason").to_owned()
}
