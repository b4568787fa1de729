//! Responses of the application's, checked, with what is made of them on the way: a file that it has named, a coding that its
//! client takes.

use std::time::{SystemTime, UNIX_EPOCH};

use magnus::{Error, RArray, RHash, RString, Ruby, Value};
use rserve_core::connection::exchange::AfterSending;
use rserve_core::connection::request::Refusal;
use rserve_core::content::coder::Coder;
use rserve_core::content::compression::{self, Decision};
use rserve_core::content::{self, Question};
use rserve_core::observe::line::Octets;
use rserve_core::server::Lease;
use rserve_http1::content::codings::{Acceptance, Coding};
use rserve_http1::content::ranges::Part;
use rserve_http1::field_lines::{self, Change};
use rserve_http1::{ResponseFraming, ResponsePlan, Spelling, TransferEncoding};

use super::Core;
use crate::core::env;
use crate::core::response::{self, Body, Fields, ResponseContext};
use crate::core::writer::Writer;
use crate::vm::gvl::without_gvl;
use crate::vm::{buffer, error, text};

/// A response that can be sent.
pub(super) struct Checked {
    pub(super) status: u16,
    pub(super) body: Body,
    pub(super) plan: ResponsePlan,
    pub(super) head: Vec<u8>,
    /// Its parts are coded on their way.
    pub(super) coder: Option<Coder>,
}

/// A whole body that is to be coded, and the rest of its response.
pub(crate) struct Whole {
    octets: Vec<u8>,
    coding: Coding,
    level: u32,
    jitter: u64,
    fields: Fields,
}

impl Core {
    /// Checks a response of the application's to the request of `env`, and makes its head; `None` if there will be none.
    pub(super) fn check(
        &self,
        ruby: &Ruby,
        context: ResponseContext,
        triple: Value,
        env: Option<RHash>,
    ) -> Result<Option<Checked>, Error> {
        let (status, headers, body) = RArray::try_convert_triple(triple)?;
        let status = response::status(status)?;
        if status == -1 {
            return Ok(None);
        }
        let mut status = response::sendable(ruby, status)?;
        let mut fields = Fields::of(ruby, self, headers, self.spelling)?;
        let body = match self.stored(ruby, env, &mut status, &mut fields)? {
            Some(body) => body,
            None => Body::of(ruby, body, context, status, &mut fields)?,
        };
        let (body, coder) = self.code(ruby, context, status, env, &mut fields, body)?;
        let mut plan = response::plan(ruby, &fields, context, status)?;
        if matches!(body, Body::Hijack(_)) && fields.content_length.is_none() {
            plan.framing = ResponseFraming::UntilClose;
            plan.chunked = false;
        }
        let mut head = buffer::take();
        let body = match body {
            Body::Whole(mut whole) => {
                whole.fields = fields;
                Body::Whole(whole)
            }
            body => {
                response::head(&fields, context, status, &plan, self.spelling, &mut head);
                fields.recycle();
                body
            }
        };
        Ok(Some(Checked { status, body, plan, head, coder }))
    }

    pub(super) fn check_refusal(
        &self,
        ruby: &Ruby,
        context: ResponseContext,
        refusal: &Refusal,
        triple: Value,
    ) -> Result<Checked, Error> {
        let (status, headers, body) = RArray::try_convert_triple(triple)?;
        let mut fields = Fields::of(ruby, self, headers, self.spelling)?;
        let status = response::sendable(ruby, response::status(status)?)?;
        let body = Body::of(ruby, body, context, status, &mut fields)?;
        let mut plan =
            response::plan(ruby, &fields, ResponseContext { keep_alive: false, ..context }, status)?;
        if !refusal.says_close(self.server.options(), context.keep_alive) {
            plan.connection = None;
        }
        let mut head = buffer::take();
        if refusal.is_of_malformed(self.server.options()) {
            response::malformed_head(&fields, context, status, &plan, self.spelling, &mut head);
        } else {
            response::head(&fields, context, status, &plan, self.spelling, &mut head);
        }
        Ok(Checked { status, body, plan, head, coder: None })
    }

    /// The body of a response that names a file with `X-Sendfile`, if the operator lets it.
    fn stored(
        &self,
        ruby: &Ruby,
        env: Option<RHash>,
        status: &mut u16,
        fields: &mut Fields,
    ) -> Result<Option<Body>, Error> {
        let (Some(path), Some(storage)) = (fields.sendfile.take(), self.server.storage()) else {
            return Ok(None);
        };
        if fields.hijack.is_some() {
            return Ok(None);
        }
        let file = storage.find(&path).map_err(|failure| {
            let message = format!("X-Sendfile names {}: {failure}", Octets(&path));
            Error::new(ruby.exception_runtime_error(), message)
        })?;
        let (method, asked) = env.map(|env| env::question(ruby, env)).unwrap_or_default();
        let question =
            Question::of_fields(&method, asked.iter().map(|(name, value)| (*name, value.as_slice())));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
        let own: Vec<_> = field_lines::fields(&fields.lines).collect();
        let sent = content::sent(&question, *status, &own, &file, now, content::salt());
        *status = sent.status;
        fields.transfer_encoding = TransferEncoding::Absent;
        fields.content_length = (sent.status != 304).then(|| sent.parts.iter().map(Part::length).sum());
        fields.replace(&sent, self.spelling);
        Ok(Some(Body::Stored(file, sent.parts)))
    }

    /// What is sent in place of `body`, if the client takes it in a coding; fields say so.
    fn code(
        &self,
        ruby: &Ruby,
        context: ResponseContext,
        status: u16,
        env: Option<RHash>,
        fields: &mut Fields,
        body: Body,
    ) -> Result<(Body, Option<Coder>), Error> {
        let (Some(options), Some(env)) = (&self.server.options().content.compression, env) else {
            return Ok((body, None));
        };
        let unmodified = status == 304;
        let (length, absent) = match &body {
            Body::Stored(..) | Body::Hijack(_) => return Ok((body, None)),
            _ if unmodified => (None, true),
            // Middleware leaves the content out of the answer to a HEAD, and may say how long it is; it could be a file, too.
            Body::Strings(_, 0) if context.head_request => {
                (fields.content_length.filter(|&length| length > 0), true)
            }
            Body::Strings(_, length) => (Some(*length), false),
            Body::Each(_) | Body::Call(_) => (None, false),
            _ => return Ok((body, None)),
        };
        if fields.transfer_encoding != TransferEncoding::Absent {
            return Ok((body, None));
        }
        let accepted = env::accepted(ruby, env)
            .map(|value| text::with_octets(value, |octets| Acceptance::of([octets])))
            .unwrap_or_default();
        let response = compression::Response { status, absent, length };
        let decision = compression::decide(options, accepted, response, field_lines::fields(&fields.lines));
        let (coding, level) = match decision {
            Decision::AsItIs => return Ok((body, None)),
            Decision::Varies => {
                fields.change(Change::Varies, self.spelling);
                return Ok((body, None));
            }
            Decision::Perhaps => {
                let known = unmodified && has_octets(ruby, env, fields);
                fields.change(if known { Change::Varies } else { Change::Perhaps }, self.spelling);
                fields.content_length = None;
                return Ok((body, None));
            }
            Decision::Coded(coding, level) => (coding, level),
        };
        fields.change(Change::Coded(coding), self.spelling);
        fields.content_length = None;
        if context.head_request {
            return Ok((body, None));
        }
        match body {
            Body::Strings(strings, length) => {
                let mut octets = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
                text::elements(strings)
                    .filter_map(RString::from_value)
                    .for_each(|part| text::append(part, &mut octets));
                let jitter = compression::jitter(options, &octets);
                let fields = Fields::blank();
                Ok((Body::Whole(Box::new(Whole { octets, coding, level, jitter, fields })), None))
            }
            body => {
                // What comes is not known yet, so the number does not follow from it.
                let jitter = compression::jitter(options, &content::salt().to_le_bytes());
                let coder = self
                    .server
                    .coder(coding, level, jitter, None)
                    .map_err(|failure| error::system(ruby, &failure))?;
                Ok((body, Some(coder)))
            }
        }
    }
}

/// Whether the client of `env` has the content that `fields` are of, and not coded.
fn has_octets(ruby: &Ruby, env: RHash, fields: &Fields) -> bool {
    let (method, asked) = env::question(ruby, env);
    let question = Question::of_fields(&method, asked.iter().map(|(name, value)| (*name, value.as_slice())));
    field_lines::fields(&fields.lines)
        .any(|(name, value)| name.eq_ignore_ascii_case(b"etag") && question.has(value))
}

impl Whole {
    /// Codes it and sends the response, without the GVL if that takes long: the response need not wait for the GVL then, either.
    pub(super) fn send(self, lease: Lease, context: ResponseContext, status: u16, spelling: Spelling) {
        let is_long = compression::is_long(self.coding, self.level, self.octets.len());
        let mut work = Some((self, lease));
        let mut send = || {
            if let Some((whole, lease)) = work.take() {
                whole.code_and_send(lease, context, status, spelling);
            }
        };
        if !is_long || without_gvl(&mut send, &|| {}).is_none() {
            send();
        }
    }

    fn code_and_send(self, lease: Lease, context: ResponseContext, status: u16, spelling: Spelling) {
        let Self { octets, coding, level, jitter, mut fields } = self;
        let mut coded = Vec::with_capacity(octets.len() / 2);
        let coder = lease.server().coder(coding, level, jitter, Some(octets.len() as u64));
        let outcome = coder.and_then(|mut coder| {
            coder.code(&octets, false, &mut coded)?;
            coder.end(&mut coded)
        });
        if outcome.is_err() {
            // There is no memory for it.
            return lease.finish(AfterSending::Abort);
        }
        fields.content_length = Some(coded.len() as u64);
        let plan = ResponsePlan::of(response::facts(&fields, context, status));
        let mut head = buffer::take();
        response::head(&fields, context, status, &plan, spelling, &mut head);
        fields.recycle();
        let mut writer = Writer::new(lease, plan.framing, head, plan.keep_alive);
        response::send_octets(&mut writer, &coded);
        match context.linger && !plan.keep_alive {
            true => writer.finish_lingering(),
            false => writer.finish(),
        }
    }
}

pub(super) trait Triple {
    fn try_convert_triple(value: Value) -> Result<(Value, Value, Value), Error>;
}

impl Triple for RArray {
    /// `status, headers, body = value`
    fn try_convert_triple(value: Value) -> Result<(Value, Value, Value), Error> {
        let triple = match RArray::from_value(value) {
            Some(triple) => triple,
            None => RArray::to_ary(value)?,
        };
        Ok((triple.entry(0)?, triple.entry(1)?, triple.entry(2)?))
    }
}
