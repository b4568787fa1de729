//! Plays a connection's octets to a [`Receiver`], cut in every way, and compares what comes out.
#![allow(dead_code, reason = "each test file and fuzz target uses its own part")]

pub(crate) mod reference;

use rserve_http1::{Error, Framing, Head, Limits, Progress, Receiver, Span, Version, cgi};

/// One request as far as it was read, with everything copied out of the buffer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) path: String,
    pub(crate) query: Option<String>,
    pub(crate) fragment: Option<String>,
    pub(crate) version: Version,
    pub(crate) protocol: String,
    pub(crate) host: Option<String>,
    pub(crate) framing: Framing,
    pub(crate) keep_alive: bool,
    pub(crate) expects_continue: bool,
    /// All field lines.
    pub(crate) fields: Vec<(String, String)>,
    /// The environment that follows from them, in order of first appearance.
    pub(crate) env: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) ended: bool,
}

/// What a connection amounted to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) requests: Vec<Request>,
    /// Variant of the error, and the version that the reply would have.
    pub(crate) error: Option<(String, u16, Version)>,
    /// Octets that were neither consumed nor refused: an unfinished head.
    pub(crate) left: usize,
}

impl Outcome {
    /// The only request, which was read to its end.
    #[track_caller]
    pub(crate) fn only(&self) -> &Request {
        match (&self.requests[..], &self.error, self.left) {
            ([request], None, 0) if request.ended => request,
            _ => panic!("not one complete request: {self:?}"),
        }
    }

    /// The variant of the error, or "" if there is none.
    pub(crate) fn error(&self) -> &str {
        self.error.as_ref().map_or("", |(variant, ..)| variant)
    }
}

/// Plays `octets` whole, octet by octet, cut in two at every position (when they are few), and at random places;
/// all must amount to the same.
#[track_caller]
pub(crate) fn play(octets: &[u8], limits: &Limits) -> Outcome {
    let whole = play_cut(octets, limits, &[]);
    let octet_by_octet: Vec<usize> = (1..octets.len()).collect();
    let mut ways = vec![octet_by_octet];
    if octets.len() <= 600 {
        ways.extend((1..octets.len()).map(|cut| vec![cut]));
    }
    let mut random = Random(octets.len() as u64 + 1);
    for _ in 0..20 {
        let pieces = 1 + random.below(8);
        let mut cuts: Vec<usize> = (0..pieces).map(|_| random.below(octets.len().max(1))).collect();
        cuts.sort_unstable();
        ways.push(cuts);
    }
    for cuts in ways {
        let cut = play_cut(octets, limits, &cuts);
        assert_eq!(cut, whole, "cut at {:?}: {:?}", &cuts[..cuts.len().min(10)], Printable(octets));
    }
    whole
}

/// Plays `octets` in the pieces between `cuts`, which are sorted, as a connection would: what is not consumed stays
/// in the buffer, and the receiver is asked until it wants more.
pub(crate) fn play_cut(octets: &[u8], limits: &Limits, cuts: &[usize]) -> Outcome {
    let mut receiver = Receiver::new(limits.clone());
    let mut head = Head::default();
    let mut buffer = Vec::new();
    let mut outcome = Outcome { requests: Vec::new(), error: None, left: 0 };
    let ends = cuts.iter().copied().chain([octets.len()]);
    let mut start = 0;
    for end in ends {
        buffer.extend_from_slice(&octets[start..end]);
        start = end;
        if let Err(error) = drain(&mut receiver, &mut head, &mut buffer, &mut outcome.requests) {
            assert_eq!(receiver.advance(&buffer, &mut head), Err(error.clone()), "an error stays");
            assert!(matches!(error.status(), 400 | 413 | 414 | 431 | 501 | 505), "{error:?}");
            let variant = format!("{error:?}");
            let variant = variant.split(|octet: char| !octet.is_alphanumeric()).next().unwrap_or("");
            outcome.error = Some((variant.to_owned(), error.status(), head.version));
            return outcome;
        }
        // What an unfinished request may hold is bounded, whatever is sent.
        if receiver.awaits_head() {
            assert!(buffer.len() <= limits.head + limits.request_uri + limits.fragment + 64);
        } else {
            assert!(buffer.len() <= limits.chunk_line.max(limits.trailers) + 2);
        }
    }
    // An empty line before a head goes with the head, or before it if nothing else has come.
    outcome.left = buffer.strip_prefix(b"\r\n").unwrap_or(&buffer).len();
    outcome
}

fn drain(
    receiver: &mut Receiver,
    head: &mut Head,
    buffer: &mut Vec<u8>,
    requests: &mut Vec<Request>,
) -> Result<(), Error> {
    loop {
        let awaited_head = receiver.awaits_head();
        let progress = receiver.advance(buffer, head)?;
        let consumed = match &progress {
            Progress::Partial { consumed } => {
                assert!(!awaited_head || *consumed == 0 || *consumed == buffer.len(), "{progress:?}");
                *consumed
            }
            Progress::Head { consumed } => {
                assert!(!receiver.awaits_head());
                requests.push(request(head, &buffer[..*consumed]));
                *consumed
            }
            Progress::Data { consumed, data } => {
                assert!(!data.is_empty() && data.end <= *consumed, "{progress:?}");
                last(requests).body.extend_from_slice(&buffer[data.clone()]);
                *consumed
            }
            Progress::End { consumed } => {
                assert!(receiver.awaits_head());
                last(requests).ended = true;
                *consumed
            }
        };
        assert!(consumed <= buffer.len(), "{progress:?} of {}", buffer.len());
        buffer.drain(..consumed);
        if matches!(progress, Progress::Partial { .. }) {
            let again = receiver.advance(buffer, head)?;
            assert_eq!(again, Progress::Partial { consumed: 0 }, "no octets, no progress");
            return Ok(());
        }
    }
}

fn last(requests: &mut [Request]) -> &mut Request {
    requests.last_mut().expect("a body follows a head")
}

/// Copies everything out of `octets`, the head's own ones, and checks what every head promises.
fn request(head: &Head, octets: &[u8]) -> Request {
    let text = |span: Span| {
        assert!(span.start <= span.end && span.end as usize <= octets.len(), "{span:?}");
        latin1(span.of(octets))
    };
    let mut env: Vec<(String, String)> = Vec::new();
    for field in &head.fields {
        let value = text(field.value);
        assert!(!value.contains(['\r', '\n', '\0']), "{value:?}");
        let mut key = Vec::new();
        cgi::env_name(field.name.of(octets), &mut key);
        let key = latin1(&key);
        let earlier = env.iter_mut().find(|(earlier, _)| *earlier == key);
        match (field.visible, field.repeated, earlier) {
            (false, ..) => {}
            (true, true, Some((_, joined))) => *joined = format!("{joined}, {value}"),
            (true, false, None) => env.push((key, value)),
            (true, repeated, _) => panic!("{key} is repeated: {repeated}, in {env:?}"),
        }
    }
    Request {
        method: text(head.method),
        target: text(head.target),
        path: text(head.path),
        query: head.query.map(text),
        fragment: head.fragment.map(text),
        version: head.version,
        protocol: text(head.protocol),
        host: head.host.map(text),
        framing: head.framing,
        keep_alive: head.keep_alive,
        expects_continue: head.expects_continue,
        fields: head.fields.iter().map(|field| (text(field.name), text(field.value))).collect(),
        env,
        body: Vec::new(),
        ended: false,
    }
}

/// Plays `octets`, cut and whole, and compares the requests with those of [`reference::read`].
pub(crate) fn agrees_with_reference(octets: &[u8], cuts: &[usize]) {
    // The reference has no limits.
    let limits = Limits { field_name: 1 << 20, fragment: 1 << 20, ..Limits::default() };
    let whole = play_cut(octets, &limits, &[]);
    assert_eq!(play_cut(octets, &limits, cuts), whole, "cut at {cuts:?}: {:?}", Printable(octets));

    let (readings, rest) = reference::read(octets);
    let complete: Vec<reference::Reading> = whole
        .requests
        .iter()
        .filter(|request| request.ended)
        .map(|request| reference::Reading {
            method: request.method.clone(),
            target: request.target.clone(),
            body: request.body.clone(),
        })
        .collect();
    assert_eq!(complete, readings, "{:?}", Printable(octets));
    // What the reference cannot judge before it is complete may be refused at once.
    if rest == reference::Rest::Refused {
        assert!(whole.error.is_some(), "not refused: {:?} {whole:?}", Printable(octets));
    }
}

/// Each octet as the character of the same number, so that nothing is lost in a `String`.
pub(crate) fn latin1(octets: &[u8]) -> String {
    octets.iter().copied().map(char::from).collect()
}

/// Pairs of strings, as `env` and `fields` hold them.
pub(crate) fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// The start of some octets, readable in a failure.
pub(crate) struct Printable<'a>(pub(crate) &'a [u8]);

impl std::fmt::Debug for Printable<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = &self.0[..self.0.len().min(600)];
        write!(out, "{:?} ({} octets)", latin1(shown), self.0.len())
    }
}

/// xorshift64: the same numbers in every run.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}
