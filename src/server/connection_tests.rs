//! What is idle, what is overdue, what may be closed, and that a begun request is safe.

use super::*;

fn connection() -> Arc<Connection> {
    Arc::new(Connection::new(1, "192.0.2.1:1".parse().unwrap()))
}

const AT_ONCE: Limits = Limits {
    max_connections: 1,
    max_body: 0,
    handshake_timeout: Duration::ZERO,
    header_timeout: Duration::ZERO,
    idle_timeout: Duration::ZERO,
    stall_timeout: Duration::ZERO,
    shutdown_grace: Duration::ZERO,
};

#[test]
fn a_request_in_flight_is_never_overdue_nor_evicted() {
    let connection = connection();
    connection.handshake_done();
    assert_eq!(
        connection.overdue(&AT_ONCE),
        Some(CloseReason::SlowHeaders),
        "the first request is expected after the handshake"
    );
    let request = RequestInFlight::begin(&connection).unwrap();
    assert_eq!(connection.overdue(&AT_ONCE), None);
    assert_eq!(connection.evictable(), None);
    drop(request);
    assert_eq!(connection.overdue(&AT_ONCE), Some(CloseReason::Idle));
    assert!(connection.evictable().is_some());
    connection.bytes_arrived();
    assert_eq!(connection.overdue(&AT_ONCE), Some(CloseReason::SlowHeaders));
}

#[test]
fn an_answer_that_is_still_leaving_is_not_idle() {
    let connection = connection();
    connection.handshake_done();
    ConnectionHandle(Arc::clone(&connection)).mark_authenticated();
    drop(RequestInFlight::begin(&connection).unwrap());
    connection.write_blocked();
    assert_eq!(connection.overdue(&AT_ONCE), None);
    connection.write_unblocked();
    assert_eq!(connection.overdue(&AT_ONCE), Some(CloseReason::Idle));
}

#[test]
fn an_unauthenticated_request_that_waits_for_its_peer_can_be_evicted() {
    let connection = connection();
    connection.handshake_done();
    let _request = RequestInFlight::begin(&connection).unwrap();
    let body = BodyArriving::begin(&connection);
    let (rank, _) = connection.evictable().unwrap();
    assert_eq!(rank, Rank::UnauthenticatedWaiting);
    body.arrived();
    assert_eq!(connection.evictable(), None);
    assert!(!connection.has_unread_input());
    drop(BodyArriving::begin(&connection));
    assert!(connection.has_unread_input());
}

#[test]
fn an_authenticated_connection_just_used_is_not_evicted() {
    let connection = connection();
    connection.handshake_done();
    ConnectionHandle(Arc::clone(&connection)).mark_authenticated();
    drop(RequestInFlight::begin(&connection).unwrap());
    assert_eq!(connection.evictable(), None);
}

#[test]
fn a_request_keeps_the_connection_and_a_closing_connection_takes_no_request() {
    let connection = connection();
    let request = RequestInFlight::begin(&connection).unwrap();
    assert!(!connection.close_if_idle(CloseReason::Idle));
    assert!(!connection.is_closing());
    drop(request);
    drop(RequestInFlight::begin(&connection).expect("nothing came of that close"));
    assert!(connection.close_if_idle(CloseReason::Idle));
    assert!(connection.is_closing());
    assert!(RequestInFlight::begin(&connection).is_none());
}

#[test]
fn a_begun_request_and_a_close_never_meet() {
    for _ in 0..2000 {
        let connection = connection();
        let other = Arc::clone(&connection);
        let closer = std::thread::spawn(move || other.close_if_idle(CloseReason::MakeRoom));
        let request = RequestInFlight::begin(&connection);
        let closed = closer.join().unwrap();
        assert!(!(closed && request.is_some()));
    }
}

#[test]
fn ranks_are_in_the_order_of_eviction() {
    assert!(Rank::UnauthenticatedSlow < Rank::Unauthenticated);
    assert!(Rank::Unauthenticated < Rank::UnauthenticatedWaiting);
    assert!(Rank::UnauthenticatedWaiting < Rank::AuthenticatedIdle);
}

/// A thousand of them that trickle would else take all places, and push out whoever comes to log in.
#[test]
fn a_login_that_takes_long_goes_before_those_that_are_new() {
    let waits = |idle: Duration| rank(false, false, true, idle);
    assert_eq!(waits(Duration::ZERO), Some(Rank::UnauthenticatedWaiting));
    assert_eq!(waits(SLOW_LOGIN), Some(Rank::UnauthenticatedSlow));
    assert_eq!(rank(false, false, false, SLOW_LOGIN), None, "we are at it");
    assert_eq!(rank(true, false, true, SLOW_LOGIN), None);
}

/// A client that keeps its connection is no slower than one that comes anew.
#[test]
fn a_login_is_slow_by_its_own_request_and_not_by_its_connection() {
    let mut connection = Connection::new(1, "192.0.2.1:1".parse().unwrap());
    let long_ago = Instant::now().checked_sub(SLOW_LOGIN * 10);
    connection.opened = long_ago.expect("this machine has just been started");
    let connection = Arc::new(connection);
    connection.handshake_done();
    let (rank, idle) = connection.evictable().unwrap();
    assert_eq!(rank, Rank::Unauthenticated);
    assert!(idle >= SLOW_LOGIN * 10);
    let _request = RequestInFlight::begin(&connection).unwrap();
    let _body = BodyArriving::begin(&connection);
    let (rank, lasts) = connection.evictable().unwrap();
    assert_eq!(rank, Rank::UnauthenticatedWaiting);
    assert!(lasts < SLOW_LOGIN, "{lasts:?}");
}

#[tokio::test]
async fn a_close_before_anybody_waits_is_not_lost() {
    let connection = connection();
    connection.close(CloseReason::MakeRoom);
    connection.close(CloseReason::Idle);
    assert_eq!(connection.closed().await, CloseReason::MakeRoom);
    assert_eq!(connection.evictable(), None);
}
