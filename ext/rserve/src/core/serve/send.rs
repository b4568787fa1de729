//! A response of the application's on its way out, up to where the application makes the body.

use magnus::value::ReprValue;
use magnus::{Error, RHash, Ruby, Value, typed_data::Obj};
use rserve_core::connection::exchange::AfterSending;
use rserve_core::server::Lease;
use rserve_http1::ResponseFraming;

use super::{Sent, Unsent};
use crate::core::Core;
use crate::core::checked::Checked;
use crate::core::client::Client;
use crate::core::response::{self, Body, ResponseContext};
use crate::core::stream::Stream;
use crate::core::writer::Writer;
use crate::vm::gvl::without_gvl;
use crate::vm::{error, protect};

/// What the application has still to do for a response whose head is made.
enum Step {
    /// Nothing.
    Done(Sent),
    /// It makes the body with `each`, for the client's writer; whether what the client still sends is read afterwards.
    Each(Value, bool),
    /// It makes the body with `call`.
    Call(Value, Obj<Stream>),
    /// It gets the socket.
    Hijack(Value, Box<Writer>),
}

impl Core {
    /// Sends `triple`. What calls the application has a small frame: a fiber that waits there keeps it, and each collection
    /// looks through it.
    pub(super) fn send(
        &self,
        ruby: &Ruby,
        lease: Lease,
        context: ResponseContext,
        triple: Result<Value, Error>,
        env: Option<RHash>,
        client: Obj<Client>,
    ) -> Result<Sent, Unsent> {
        match self.begin(ruby, lease, context, triple, env, client)? {
            Step::Done(sent) => Ok(sent),
            Step::Each(each, lingers) => {
                let outcome = response::send_each(client, each);
                self.end_each(ruby, outcome, lingers, env, client)
            }
            Step::Call(callable, stream) => {
                let outcome = callable.funcall::<_, _, Value>("call", (stream,));
                Ok(self.end_stream(ruby, outcome, stream, env, client))
            }
            Step::Hijack(callable, writer) => Ok(self.hand_over(ruby, *writer, callable, env, client)),
        }
    }

    /// Makes the head, and sends what the application need not be called for.
    #[inline(never)]
    fn begin(
        &self,
        ruby: &Ruby,
        lease: Lease,
        context: ResponseContext,
        triple: Result<Value, Error>,
        env: Option<RHash>,
        client: Obj<Client>,
    ) -> Result<Step, Unsent> {
        let checked = match triple.and_then(|triple| self.check(ruby, context, triple, env)) {
            Ok(checked) => checked,
            Err(failure) => return Err((lease, failure)),
        };
        let Some(Checked { status, body, plan, head, coder }) = checked else {
            // Puma's asynchronous response: the application answers on the socket, or never.
            client.keep_input();
            client.end();
            lease.finish(AfterSending::Close);
            return Ok(Step::Done(Ok(())));
        };
        self.server.note_status(lease.connection(), status);
        if !matches!(body, Body::Hijack(_)) {
            client.answer();
        }
        let body = match body {
            Body::Whole(whole) => {
                client.end();
                whole.send(lease, context, status, self.spelling);
                return Ok(Step::Done(Ok(())));
            }
            body => body,
        };
        let mut writer = Writer::new(lease, plan.framing, head, plan.keep_alive);
        writer.code_with(coder);
        let bodiless = plan.framing == ResponseFraming::None;
        let lingers = context.linger && !plan.keep_alive;
        match body {
            Body::Hijack(callable) => Ok(Step::Hijack(callable, Box::new(writer))),
            Body::Call(callable) if !bodiless => {
                client.keep_input();
                Ok(Step::Call(callable, ruby.obj_wrap(Stream::new(writer))))
            }
            Body::Each(each) if !bodiless => {
                client.writer.put(writer);
                Ok(Step::Each(each, lingers))
            }
            Body::File(_) | Body::Stored(..) => {
                Ok(Step::Done(self.send_file(ruby, writer, body, env, client)))
            }
            Body::Strings(strings, length) => {
                response::send_strings(&mut writer, strings, length);
                self.conclude(ruby, writer, Ok(()), lingers, env, client).map(Step::Done)
            }
            Body::Each(_) | Body::Call(_) | Body::Empty | Body::Whole(_) => {
                self.conclude(ruby, writer, Ok(()), lingers, env, client).map(Step::Done)
            }
        }
    }

    fn send_file(
        &self,
        ruby: &Ruby,
        mut writer: Writer,
        body: Body,
        env: Option<RHash>,
        client: Obj<Client>,
    ) -> Sent {
        let written = match body {
            Body::File(file) => writer.write_file(ruby, file),
            Body::Stored(file, parts) => writer.write_stored(ruby, &file, parts),
            _ => Ok(()),
        };
        client.end();
        if let Err(failure) = written {
            let lost = writer.has_failed();
            writer.abort();
            return self.cut_short(ruby, failure, env, lost);
        }
        // The file may have to come from a disk.
        let mut writer = Some(writer);
        let mut finish = || writer.take().map_or((), Writer::finish);
        if without_gvl(&mut finish, &|| {}).is_none() {
            finish();
        }
        Ok(())
    }

    /// The application has made its body with `each`, or failed to.
    #[inline(never)]
    fn end_each(
        &self,
        ruby: &Ruby,
        outcome: Result<(), Error>,
        lingers: bool,
        env: Option<RHash>,
        client: Obj<Client>,
    ) -> Result<Sent, Unsent> {
        let Some(writer) = client.writer.take() else {
            // Another thread still has it: the response ends with what that one writes.
            client.keep_input();
            client.end();
            return Ok(outcome.or_else(|failure| self.cut_short(ruby, failure, env, false)));
        };
        self.conclude(ruby, writer, outcome, lingers, env, client)
    }

    /// All of the body was written, or it failed.
    fn conclude(
        &self,
        ruby: &Ruby,
        writer: Writer,
        outcome: Result<(), Error>,
        lingers: bool,
        env: Option<RHash>,
        client: Obj<Client>,
    ) -> Result<Sent, Unsent> {
        match outcome {
            Ok(()) => {
                client.end();
                match lingers {
                    true => writer.finish_lingering(),
                    false => writer.finish(),
                }
                Ok(Ok(()))
            }
            // Nothing has left: there is still time for a proper error.
            Err(failure) if writer.is_unsent() && error::exception(&failure).is_some() => {
                Err((writer.into_lease(), failure))
            }
            Err(failure) => {
                client.end();
                let lost = writer.has_failed();
                writer.abort();
                Ok(self.cut_short(ruby, failure, env, lost))
            }
        }
    }

    /// A streaming body (Rack 3) was called with `stream`, which may live longer than the call.
    #[inline(never)]
    fn end_stream(
        &self,
        ruby: &Ruby,
        outcome: Result<Value, Error>,
        stream: Obj<Stream>,
        env: Option<RHash>,
        client: Obj<Client>,
    ) -> Sent {
        client.end();
        if let Err(failure) = outcome {
            let mut lost = true;
            if let Some(writer) = stream.take() {
                lost = writer.has_failed();
                writer.abort();
            }
            return self.cut_short(ruby, failure, env, lost);
        }
        if !stream.is_closed() {
            self.server.leave_to_application(client.connection());
        }
        // The head must not wait for the first write of a stream that was only put aside.
        stream.flush_head(ruby)
    }

    /// Partial hijack: the head goes out, then the application gets the socket.
    #[inline(never)]
    fn hand_over(
        &self,
        ruby: &Ruby,
        mut writer: Writer,
        callable: Value,
        env: Option<RHash>,
        client: Obj<Client>,
    ) -> Sent {
        let flushed = writer.flush(ruby).and_then(|()| writer.wait(ruby));
        if let Err(failure) = flushed {
            client.end();
            let lost = writer.has_failed();
            writer.abort();
            return self.cut_short(ruby, failure, env, lost);
        }
        client.keep_input();
        let socket: Result<Value, Error> = client.funcall("call", ());
        let outcome = socket.and_then(|socket| callable.funcall::<_, _, Value>("call", (socket,)));
        writer.into_lease().finish(AfterSending::Close);
        match outcome {
            Ok(_) => Ok(()),
            Err(failure) => {
                let told = self.cut_short(ruby, failure, env, false);
                // Nobody has the socket now.
                protect::ensure(told, || error::forgive(client.funcall::<_, _, Value>("close", ())))
            }
        }
    }
}
