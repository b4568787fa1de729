//! Connections that speak HTTP/2: their requests come and go here, each as if it were a connection of its own.

use std::sync::{Arc, MutexGuard};
use std::time::Instant;

use rserve_http2::Event;

use super::Poller;
use crate::connection::exchange::{Brought, Due, Exchange, Outcome};
use crate::connection::{Connection, ConnectionId};
use crate::net::edges::{ENDED, WRITABLE};
use crate::net::http2::{Lane, Wire};
use crate::shared::{Shared, Status};
use crate::tuning::READ_BUDGET;

/// What becomes of the connection after what came.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Next {
    /// It waits for more.
    Wait,
    /// There is more, but others first.
    Again,
    /// The client is told why it is over, or has said so itself, and the connection ends.
    Over,
    /// The socket is lost.
    Lost,
}

impl Poller {
    /// Lets a connection that carries requests go on.
    pub(super) fn carry(
        &mut self,
        shared: &Shared,
        connection: &Arc<Connection>,
        mut exchange: MutexGuard<'_, Exchange>,
        now: Instant,
    ) {
        let Some(wire) = exchange.carriage().map(|carriage| Arc::clone(carriage.wire())) else { return };
        let next = self.receive_requests(shared, connection, &mut exchange, &wire, now);
        let flushed = wire.flush();
        let next = if flushed.is_err() { Next::Lost } else { next };
        if matches!(next, Next::Wait | Next::Again) {
            for stream in wire.take_unblocked() {
                if let Some(id) = exchange.carriage().and_then(|carriage| carriage.stream(stream)) {
                    self.go_on(shared, id, WRITABLE, now);
                }
            }
        }
        let over = self.settle_carriage(shared, &mut exchange, &wire, now);
        match next {
            Next::Lost => self.close(shared, connection, &mut exchange),
            Next::Over => self.end_carriage(shared, connection, exchange, now),
            _ if over => self.end_carriage(shared, connection, exchange, now),
            Next::Wait | Next::Again => {
                self.set_carriage_deadline(shared, connection, &mut exchange, now);
                exchange.tell_state();
                drop(exchange);
                if next == Next::Again {
                    self.took_long = true;
                    self.put_off(connection);
                }
            }
        }
    }

    /// What follows from the requests that there are: whether the connection has come to its end.
    fn settle_carriage(&self, shared: &Shared, exchange: &mut Exchange, wire: &Wire, now: Instant) -> bool {
        let options = &shared.options;
        let most = if options.enable_keep_alives { options.max_keep_alive } else { Some(1) };
        let Some(carriage) = exchange.carriage() else { return false };
        carriage.prune(|id| self.slots.get(id).is_some());
        let standing = wire.standing();
        if most.is_some_and(|most| standing.requests >= most) {
            wire.leave();
        } else if shared.status() >= Status::Retiring && standing.requests > 0 {
            carriage.leave_at(now + options.drain_grace);
        }
        let standing = wire.standing();
        if standing.streams == 0 && !standing.blocked {
            wire.rest();
        }
        standing.leaves && standing.streams == 0 && !standing.blocked
    }

    fn receive_requests(
        &mut self,
        shared: &Shared,
        connection: &Arc<Connection>,
        exchange: &mut Exchange,
        wire: &Arc<Wire>,
        now: Instant,
    ) -> Next {
        let Some(carriage) = exchange.carriage() else { return Next::Lost };
        carriage.stores = false;
        let mut input = carriage.take_input();
        let (mut budget, mut took_frame) = (READ_BUDGET, false);
        let next = loop {
            match self.digest(shared, connection, exchange, wire, &input, now) {
                Some(consumed) => {
                    input.drain(..consumed);
                    took_frame |= consumed > 0;
                }
                None => break Next::Over,
            }
            let Some(carriage) = exchange.carriage() else { break Next::Lost };
            if carriage.is_drained() {
                break Next::Wait;
            }
            if wire.is_full() {
                match wire.flush() {
                    Err(_) => break Next::Lost,
                    // Nothing more is read from a client that does not read: the socket will say when it does.
                    Ok(_) if wire.is_full() => break Next::Wait,
                    Ok(_) => {}
                }
            }
            if budget == 0 {
                break Next::Again;
            }
            match carriage.read(&mut input) {
                Ok(Brought::Octets(count)) => budget = budget.saturating_sub(count),
                Ok(Brought::Nothing) => break Next::Wait,
                Ok(Brought::End) => break Next::Over,
                Err(_) => break Next::Lost,
            }
        };
        if let Some(carriage) = exchange.carriage() {
            carriage.keep_input(input, took_frame, now);
        }
        next
    }

    /// Understands what came: how many octets of it; `None` when the connection is over.
    fn digest(
        &mut self,
        shared: &Shared,
        connection: &Arc<Connection>,
        exchange: &mut Exchange,
        wire: &Arc<Wire>,
        input: &[u8],
        now: Instant,
    ) -> Option<usize> {
        let millis = shared.deadlines.millis(now);
        let mut at = 0;
        loop {
            let (consumed, event) = match wire.advance(&input[at..], millis) {
                Ok(advance) => advance,
                Err(reason) => {
                    tracing::debug!(
                        target: "rserve_core::connection",
                        %reason,
                        client_addr = %connection.peer().ip(),
                        "ends a connection of HTTP/2"
                    );
                    return None;
                }
            };
            let octets = &input[at..];
            at += consumed;
            match event {
                Event::Partial => return Some(at),
                Event::Nothing | Event::Window { .. } => {}
                Event::Request { stream, head, ended } => {
                    shared.touch(now);
                    let lane = Lane::new(wire, stream, head.is_head);
                    let client = exchange.carriage().and_then(|carriage| carriage.client());
                    let own = Exchange::of_stream(lane, client, &shared.options, &shared.unread, now);
                    let request = self.slots.insert(|id| connection.carry(id, own));
                    if let Some(carriage) = exchange.carriage() {
                        carriage.add(stream, request.id(), now);
                    }
                    let mut own = request.exchange();
                    if let Some(telemetry) = shared.telemetry.get() {
                        own.tell_in(telemetry);
                    }
                    let outcome = own.take_head(head, ended, &shared.options, now);
                    self.settle_request(shared, &request, own, outcome, now);
                }
                Event::Data { stream, octets: range, ended } => {
                    let data = octets.get(range).unwrap_or_default();
                    self.data(shared, exchange, stream, data, ended, now);
                }
                Event::End { stream } => self.data(shared, exchange, stream, &[], true, now),
                Event::Reset { stream } => {
                    if let Some(request) = self.carried(exchange, stream) {
                        self.give_up_request(shared, &request);
                    }
                }
            }
        }
    }

    fn carried(&self, exchange: &mut Exchange, stream: u32) -> Option<Arc<Connection>> {
        let id = exchange.carriage()?.stream(stream)?;
        self.slots.get(id).map(Arc::clone)
    }

    fn data(
        &mut self,
        shared: &Shared,
        exchange: &mut Exchange,
        stream: u32,
        octets: &[u8],
        ended: bool,
        now: Instant,
    ) {
        let Some(request) = self.carried(exchange, stream) else { return };
        // One that is being answered wants no more of it.
        if request.owner.is_busy() {
            return;
        }
        let mut own = request.exchange();
        let outcome = own.take_data(octets, ended, &shared.options, now);
        if let Some(carriage) = exchange.carriage() {
            carriage.stores = own.is_stored() && !ended;
        }
        self.settle_request(shared, &request, own, outcome, now);
    }

    /// As [`Poller::settle`], of a request that came a step further.
    fn settle_request(
        &mut self,
        shared: &Shared,
        request: &Arc<Connection>,
        mut own: MutexGuard<'_, Exchange>,
        outcome: Outcome,
        now: Instant,
    ) {
        let hurries = self.holds_gvl || self.is_late(now);
        let outcome = shared.answer_with_files(request, &mut own, outcome, now, hurries);
        self.took_long |= own.take_answered_with_file();
        self.settle(shared, request, own, outcome, now);
    }

    /// Nobody waits for this request any more. Whoever makes its response sees that, or, if it waits, is told.
    fn give_up_request(&mut self, shared: &Shared, request: &Arc<Connection>) {
        if request.owner.saw(WRITABLE | ENDED) {
            self.close(shared, request, &mut request.exchange());
        } else {
            request.send_more_if_free();
            shared.doubt_client(request);
        }
    }

    /// The requests that a connection carries, which is over, are, too.
    pub(super) fn give_up_requests(&mut self, shared: &Shared, requests: Vec<ConnectionId>) {
        for id in requests {
            if let Some(request) = self.slots.get(id).map(Arc::clone) {
                self.give_up_request(shared, &request);
            }
        }
    }

    /// The client has been told all there is to tell, or will not listen: the connection is closed as soon as it has read
    /// that, and what it carries ends.
    fn end_carriage(
        &mut self,
        shared: &Shared,
        connection: &Arc<Connection>,
        mut exchange: MutexGuard<'_, Exchange>,
        now: Instant,
    ) {
        let requests: Vec<_> = exchange.carriage().map_or_else(Vec::new, |it| it.streams().collect());
        exchange.carriage_lingers();
        drop(exchange);
        self.give_up_requests(shared, requests);
        connection.owner.set_deadline(crate::connection::ownership::NEVER);
        self.run(shared, connection, true, now);
    }

    fn set_carriage_deadline(
        &self,
        shared: &Shared,
        connection: &Connection,
        exchange: &mut Exchange,
        now: Instant,
    ) {
        let stops = shared.status() >= Status::Draining;
        if let Some(carriage) = exchange.carriage() {
            let (at, _) = carriage.due(&shared.options, stops, now);
            shared.deadline_at(connection, at);
        }
    }

    /// The deadline of a connection that carries requests has passed.
    pub(super) fn carriage_is_due(
        &mut self,
        shared: &Shared,
        connection: &Arc<Connection>,
        mut exchange: MutexGuard<'_, Exchange>,
        now: Instant,
    ) {
        let stops = shared.status() >= Status::Draining;
        let Some(carriage) = exchange.carriage() else { return };
        match carriage.due(&shared.options, stops, now) {
            (at, _) if at > now => self.set_carriage_deadline(shared, connection, &mut exchange, now),
            (_, Due::Late) => {
                tracing::debug!(
                    target: "rserve_core::connection",
                    client_addr = %connection.peer().ip(),
                    "a client of HTTP/2 is late"
                );
                self.close(shared, connection, &mut exchange);
            }
            (_, Due::Leave | Due::Idle) => {
                carriage.wire().leave();
                self.carry(shared, connection, exchange, now);
            }
            (_, Due::Look) => self.carry(shared, connection, exchange, now),
        }
    }

    /// A connection that carries requests is to end: those that come meanwhile are answered.
    pub(super) fn say_goodbye(
        &self,
        shared: &Shared,
        connection: &Connection,
        exchange: &mut Exchange,
        at: Instant,
        now: Instant,
    ) {
        if let Some(carriage) = exchange.carriage() {
            carriage.leave_at(at);
            self.set_carriage_deadline(shared, connection, exchange, now);
        }
    }

    /// Forgets a connection. One that carried it may be over, too.
    pub(super) fn forget(&mut self, id: ConnectionId) {
        let carrier = self.slots.get(id).and_then(|connection| connection.carrier());
        self.slots.remove(id);
        let Some(carrier) = carrier.and_then(|id| self.slots.get(id)).map(Arc::clone) else { return };
        // Whoever has its exchange, this thread further up, looks at it afterwards.
        let is_over = carrier.try_exchange().is_some_and(|mut exchange| {
            let wire = exchange.carriage().map(|carriage| Arc::clone(carriage.wire()));
            wire.is_some_and(|wire| wire.standing().leaves && wire.is_idle())
        });
        if is_over {
            self.put_off(&carrier);
        }
    }

    /// Whether all requests that a connection carries, and there are some, are left to the application.
    pub(super) fn carries_only_apart(&self, connection: &Connection) -> bool {
        let Some(mut exchange) = connection.try_exchange() else { return false };
        let Some(carriage) = exchange.carriage() else { return false };
        let mut requests = carriage.streams().filter_map(|id| self.slots.get(id)).peekable();
        requests.peek().is_some() && requests.all(|request| request.is_apart())
    }
}
