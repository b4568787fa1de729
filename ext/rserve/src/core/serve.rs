//! One request: environment, application, response, and whatever of it goes wrong.

mod send;

use std::panic::{AssertUnwindSafe, catch_unwind};

use magnus::rb_sys::{AsRawValue, FromRawValue};
use magnus::value::{LazyId, ReprValue};
use magnus::{Error, RArray, RHash, Ruby, Value, typed_data::Obj};
use rserve_core::connection::exchange::AfterSending;
use rserve_core::connection::request::{Refusal, Request};
use rserve_core::observe::line::Octets;
use rserve_core::server::{InHand, Lease};

use super::Core;
use crate::core::checked::Checked;
use crate::core::client::Client;
use crate::core::env::{self, Extras};
use crate::core::response::{self, Body, ResponseContext};
use crate::core::writer::Writer;
use crate::vm::{error, protect};

/// What the thread has to do once the response is out or given up and the connection was let go: an error is no
/// exception but an exit that goes on (`Thread#kill`).
type Sent = Result<(), Error>;

/// A response that turned out not to be one: nothing was sent, and the request is still to be answered.
type Unsent = (Lease, Error);

/// Looking a name up costs as much as half of the environment's values.
static CALL: LazyId = LazyId::new("call");

impl Core {
    /// Serves one request. Errors are the thread's, not the application's: a `Thread#kill`, an interrupt.
    pub(super) fn serve(&self, ruby: &Ruby, lease: Lease, request: &mut Request) -> Result<(), Error> {
        match catch_unwind(AssertUnwindSafe(|| self.serve_request(ruby, lease, request))) {
            Ok(outcome) => outcome,
            Err(_) => {
                // The panic hook has told where, and the connection went with its lease.
                let _ = self
                    .handler(ruby)
                    .funcall::<_, _, Value>("log_failure", ("a panic while serving a request",));
                Ok(())
            }
        }
    }

    fn serve_request(&self, ruby: &Ruby, lease: Lease, request: &mut Request) -> Result<(), Error> {
        let context = ResponseContext {
            version: request.head.version,
            head_request: request.head.method.of(&request.octets) == b"HEAD",
            keep_alive: self.server.may_keep_alive(request),
            linger: false,
            dated: !self.server.options().poses_as_puma,
        };
        if request.refusal.is_some() {
            return self.refuse(ruby, lease, request, context);
        }
        if !request.is_supported(self.server.options()) {
            return self.unsupported(ruby, lease, request, context);
        }
        let client = self.client(ruby, &lease, request);
        let outcome = self.run(ruby, lease, request, context, client);
        Self::settle(ruby, outcome, client)
    }

    #[inline(never)]
    fn client(&self, ruby: &Ruby, lease: &Lease, request: &Request) -> Obj<Client> {
        ruby.obj_wrap(Client::new(&self.server, lease.connection(), request.head.takes_interim()))
    }

    #[inline(never)]
    fn settle(ruby: &Ruby, outcome: Result<(), Error>, client: Obj<Client>) -> Result<(), Error> {
        protect::ensure(outcome, || error::forgive(client.settle(ruby)))
    }

    fn run(
        &self,
        ruby: &Ruby,
        lease: Lease,
        request: &mut Request,
        context: ResponseContext,
        client: Obj<Client>,
    ) -> Result<(), Error> {
        let in_hand = self.server.give(&lease, request);
        let serial = in_hand.as_ref().map(InHand::serial);
        let streamed = request.is_streamed();
        // Until its body is read.
        let unread = ResponseContext { keep_alive: context.keep_alive && !streamed, ..context };
        let built = self.environment(ruby, &lease, request, client, serial);
        self.server.recycle(lease.connection(), request);
        let env = match built {
            Ok(env) => env,
            Err(failure) => return self.failed(ruby, lease, unread, failure, None, client),
        };
        let running = self.timed.begin(in_hand.as_ref(), env);
        let app = ruby.get_inner(self.app.get());
        let outcome = app.funcall::<_, _, Value>(*CALL, (env,));
        drop(running);
        if in_hand.is_some_and(InHand::end) {
            return self.too_late(ruby, outcome, env, client);
        }
        let context = if streamed && !self.is_body_read(&lease, &outcome) { unread } else { context };
        match outcome {
            Ok(triple) => self.respond(ruby, lease, context, triple, env, client),
            Err(failure) => self.failed(ruby, lease, context, failure, Some(env), client),
        }
    }

    /// Whether the connection may be kept, of whose request the application reads the body while that comes. A response
    /// whose body is an Array is made: nobody will read more.
    #[inline(never)]
    fn is_body_read(&self, lease: &Lease, outcome: &Result<Value, Error>) -> bool {
        let made = |triple: &Value| body_of(*triple).is_none_or(|body| RArray::from_value(body).is_some());
        self.server.is_body_read(lease.connection(), outcome.as_ref().map_or(true, made))
    }

    /// The application gives a request back whose client the server has answered in its place.
    #[inline(never)]
    fn too_late(
        &self,
        ruby: &Ruby,
        outcome: Result<Value, Error>,
        env: RHash,
        client: Obj<Client>,
    ) -> Result<(), Error> {
        client.end();
        match outcome {
            Ok(triple) => {
                self.close(ruby, body_of(triple), env)?;
                self.after(ruby, Some(env), client, Some(triple), None)
            }
            Err(failure) => {
                let exception = error::exception(&failure);
                let told = self.cut_short(ruby, failure, Some(env), false);
                protect::ensure(told, || self.after(ruby, Some(env), client, None, exception))
            }
        }
    }

    #[inline(never)]
    fn environment(
        &self,
        ruby: &Ruby,
        lease: &Lease,
        request: &mut Request,
        client: Obj<Client>,
        serial: Option<u64>,
    ) -> Result<RHash, Error> {
        let connection = lease.connection();
        let streamed = request.is_streamed();
        let length = (!streamed).then(|| request.body.len());
        let stored = matches!(request.body, rserve_core::connection::body::Body::File { .. });
        let mut input = env::input(ruby, &mut request.body)?;
        if streamed {
            client.leave_body(request.serial);
            input = Some(client.funcall("upload_input", ())?);
        }
        if stored && let Some(file) = input {
            Client::set_input(client, file);
        }
        let callable = |wanted: bool, method: &str| -> Result<Option<Value>, Error> {
            wanted.then(|| client.funcall("method", (ruby.to_symbol(method),))).transpose()
        };
        let early_hints = callable(self.early_hints, "early_hints")?;
        let mark_as_io_bound = callable(self.io_bound, "mark_as_io_bound")?;
        let extras =
            Extras { client: client.as_value(), input, length, early_hints, mark_as_io_bound, serial };
        let env = self.env.build(ruby, connection, request, &extras)?;
        Client::set_env(client, env.as_value());
        let verifying = self.verifying.borrow().get(connection.listener()).copied();
        if verifying == Some(true)
            && let Some(der) = self.server.peer_certificate(connection)
        {
            let certificate: Value =
                self.handler(ruby).funcall("peer_certificate", (ruby.str_from_slice(&der),))?;
            env.aset("puma.peercert", certificate)?;
        }
        Ok(env)
    }

    /// The application failed before anything was sent: `lowlevel_error` says what the client gets.
    #[inline(never)]
    fn failed(
        &self,
        ruby: &Ruby,
        lease: Lease,
        context: ResponseContext,
        failure: Error,
        env: Option<RHash>,
        client: Obj<Client>,
    ) -> Result<(), Error> {
        let Some(exception) = error::exception(&failure) else {
            // A `throw` past us, or `Thread#kill`: the connection is visibly aborted, the thread goes its way.
            client.end();
            lease.finish(AfterSending::Close);
            return Err(failure);
        };
        if client.is_hijacked() {
            client.end();
            lease.finish(AfterSending::Close);
            return error::forgive(self.handler(ruby).funcall::<_, _, Value>("late_error", (exception, env)));
        }
        let answer: Result<Value, Error> = self.handler(ruby).funcall("answer_error", (exception, env));
        if matches!(answer, Ok(nobody) if nobody.is_nil()) {
            // The client went before its request had come.
            client.end();
            lease.finish(AfterSending::Abort);
            return self.after(ruby, env, client, None, Some(exception));
        }
        let answered = answer.as_ref().ok().copied();
        let sent = self.send(ruby, lease, context, answer, None, client);
        // What was to say what went wrong went wrong itself.
        let sent = sent.or_else(|(lease, failure)| match error::exception(&failure) {
            Some(_) => self.send(ruby, lease, context, plain_error(ruby, 500), None, client),
            None => Err((lease, failure)),
        });
        match sent {
            Ok(sent) => protect::ensure(sent, || self.after(ruby, env, client, answered, Some(exception))),
            Err((lease, failure)) => {
                client.end();
                lease.finish(AfterSending::Close);
                error::forgive::<()>(Err(failure))
            }
        }
    }

    /// A request whose method the operator does not want served (RFC 9110 §15.6.2).
    #[inline(never)]
    fn unsupported(
        &self,
        ruby: &Ruby,
        lease: Lease,
        request: &Request,
        context: ResponseContext,
    ) -> Result<(), Error> {
        let client = self.client(ruby, &lease, request);
        let octets = request.octets.as_slice();
        let about = (
            ruby.str_from_slice(request.head.method.of(octets)),
            ruby.str_from_slice(request.head.target.of(octets)),
            lease.connection().peer().ip().to_string(),
        );
        let answer: Result<Value, Error> = self.handler(ruby).funcall("answer_unsupported", about);
        // What follows may be of another protocol, and is on its way.
        let context = ResponseContext { keep_alive: false, linger: true, ..context };
        match self.send(ruby, lease, context, answer, None, client) {
            Ok(sent) => sent,
            Err((lease, failure)) => self.failed(ruby, lease, context, failure, None, client),
        }
    }

    /// A request that the server itself answers.
    #[inline(never)]
    fn refuse(
        &self,
        ruby: &Ruby,
        lease: Lease,
        request: &Request,
        context: ResponseContext,
    ) -> Result<(), Error> {
        let Some(refusal) = &request.refusal else { return Ok(()) };
        let octets = request.octets.as_slice();
        let status = refusal.status(self.server.options());
        let malformed = refusal.is_of_malformed(self.server.options());
        tracing::debug!(
            target: "rserve_core::connection",
            status,
            reason = %refusal,
            method = %Octets(request.head.method.of(octets)),
            path = %Octets(request.head.target.of(octets)),
            client_addr = %lease.connection().peer().ip(),
            "refuses a request"
        );
        let about = (
            status,
            refusal.to_string(),
            ruby.str_from_slice(request.head.method.of(octets)),
            ruby.str_from_slice(request.head.target.of(octets)),
            (!malformed).then(|| lease.connection().peer().ip().to_string()),
        );
        let answer: Result<Value, Error> = self.handler(ruby).funcall("answer_refusal", about);
        let send = |lease, answer| self.send_refusal(ruby, lease, context, refusal, answer);
        let sent = send(lease, answer).or_else(|(lease, failure)| match error::exception(&failure) {
            Some(_) => send(lease, plain_error(ruby, status)),
            None => Err((lease, failure)),
        });
        if let Err((lease, failure)) = sent {
            lease.finish(AfterSending::Linger);
            return error::forgive::<()>(Err(failure));
        }
        Ok(())
    }

    /// Sends `answer`, a triple whose body is an Array, as the last one on this connection.
    fn send_refusal(
        &self,
        ruby: &Ruby,
        lease: Lease,
        context: ResponseContext,
        refusal: &Refusal,
        answer: Result<Value, Error>,
    ) -> Result<(), Unsent> {
        let checked = answer.and_then(|triple| self.check_refusal(ruby, context, refusal, triple));
        let Checked { status, body, plan, head, .. } = match checked {
            Ok(checked) => checked,
            Err(failure) => return Err((lease, failure)),
        };
        self.server.note_status(lease.connection(), status);
        let mut writer = Writer::new(lease, plan.framing, head, false);
        if let Body::Strings(strings, length) = body {
            response::send_strings(&mut writer, strings, length);
        }
        writer.finish_lingering();
        Ok(())
    }

    /// Sends the application's response, whatever comes of it.
    fn respond(
        &self,
        ruby: &Ruby,
        lease: Lease,
        context: ResponseContext,
        triple: Value,
        env: RHash,
        client: Obj<Client>,
    ) -> Result<(), Error> {
        if client.is_hijacked() {
            lease.finish(AfterSending::Close);
            return self.end(ruby, Ok(Ok(())), context, triple, env, client);
        }
        let sent = self.send(ruby, lease, context, Ok(triple), Some(env), client);
        self.end(ruby, sent, context, triple, env, client)
    }

    /// The response was sent, or turned out to be none.
    #[inline(never)]
    fn end(
        &self,
        ruby: &Ruby,
        sent: Result<Sent, Unsent>,
        context: ResponseContext,
        triple: Value,
        env: RHash,
        client: Obj<Client>,
    ) -> Result<(), Error> {
        match sent {
            Ok(sent) => {
                protect::ensure(sent, || self.close(ruby, body_of(triple), env))?;
                self.after(ruby, Some(env), client, Some(triple), None)
            }
            Err((lease, failure)) => {
                let outcome = self.failed(ruby, lease, context, failure, Some(env), client);
                protect::ensure(outcome, || self.close(ruby, body_of(triple), env))
            }
        }
    }

    /// It failed when part of the response was out: all that is left is to log it, and to report it as an error.
    fn cut_short(&self, ruby: &Ruby, failure: Error, env: Option<RHash>, lost: bool) -> Result<(), Error> {
        let Some(exception) = error::exception(&failure) else { return Err(failure) };
        if !lost {
            error::forgive(self.handler(ruby).funcall::<_, _, Value>("late_error", (exception, env)))?;
        }
        Ok(())
    }

    /// `body.close`, once, whatever happened.
    fn close(&self, ruby: &Ruby, body: Option<Value>, env: RHash) -> Result<(), Error> {
        let Some(body) = body else { return Ok(()) };
        if RArray::from_value(body).is_some_and(|array| array.class().as_raw() == ruby.class_array().as_raw())
        {
            return Ok(());
        }
        let closed = body.respond_to("close", false).and_then(|closes| match closes {
            true => body.funcall::<_, _, Value>("close", ()).map(|_| ()),
            false => Ok(()),
        });
        closed.or_else(|failure| self.cut_short(ruby, failure, Some(env), false))
    }

    /// `rack.after_reply` and `rack.response_finished`.
    fn after(
        &self,
        ruby: &Ruby,
        env: Option<RHash>,
        client: Obj<Client>,
        triple: Option<Value>,
        failure: Option<Value>,
    ) -> Result<(), Error> {
        client.end();
        let Some(env) = env else { return Ok(()) };
        let (reply, finished) = env::keys_of_callbacks(ruby);
        // SAFETY: Hash and keys are live; with String keys of exact class nothing is called that could raise.
        let pending = unsafe {
            let listed = |key| {
                let value = Value::from_raw(rb_sys::rb_hash_lookup(env.as_raw(), key));
                RArray::from_value(value).is_some_and(|array| !array.is_empty())
            };
            listed(reply) || listed(finished)
        };
        if pending
            && let Err(failure) =
                self.handler(ruby).funcall::<_, _, Value>("after_reply", (env, triple, failure))
            && error::exception(&failure).is_none()
        {
            return Err(failure);
        }
        Ok(())
    }
}

/// The last resort.
fn plain_error(ruby: &Ruby, status: u16) -> Result<Value, Error> {
    let triple = ruby.ary_new();
    triple.push(status)?;
    triple.push(ruby.hash_new())?;
    triple.push(ruby.ary_new())?;
    Ok(triple.as_value())
}

/// The body of a response that may be malformed.
fn body_of(triple: Value) -> Option<Value> {
    let triple = RArray::from_value(triple)?;
    triple.entry::<Value>(2).ok().filter(|body| !body.is_nil())
}
