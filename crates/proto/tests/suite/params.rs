//! What servers make of parameters, and what clients write.

use iperf_model::{
    BitRate, Direction, Limit, Pacing, Payload, Placement, ReceiveMode, SendMode, SocketOptions,
    TestConfig, Transport, ZeroCopy,
};
use iperf_proto::{Code, Params};

fn test_of(json: &str) -> Result<TestConfig, Code> {
    Params::parse(json.as_bytes()).unwrap().to_test()
}

#[test]
fn an_empty_object_asks_for_the_default_test() {
    let default = TestConfig::new(Transport::Tcp);
    for json in ["{}", "[]", "{\"future_key\":{\"a\":[1]}}", "{} and more"] {
        assert_eq!(test_of(json).as_ref(), Ok(&default), "{json}");
    }
}

#[test]
fn reverse_false_switches_reverse_on() {
    let test = test_of(r#"{"tcp":true,"reverse":false}"#).unwrap();
    assert_eq!(test.direction, Direction::Reverse);
    let test = test_of(r#"{"udp":false,"len":100,"bidirectional":false,"nodelay":false}"#).unwrap();
    assert_eq!(test.transport, Transport::Udp);
    assert_eq!(test.direction, Direction::Bidirectional);
    assert!(test.socket.no_delay);
    let test = test_of(r#"{"reverse":true,"bidirectional":true}"#).unwrap();
    assert_eq!(test.direction, Direction::Bidirectional);
}

#[test]
fn integer_flags_count_by_presence_or_by_value() {
    let test = test_of(
        r#"{"get_server_output":0,"udp_counters_64bit":0,"repeating_payload":0,
            "zerocopy":0,"dont_fragment":0,"skip_rx_copy":0}"#,
    )
    .unwrap();
    assert!(test.get_server_output && test.udp.counters_64bit);
    assert_eq!(test.payload, Payload::Repeating);
    assert_eq!(test.zerocopy, ZeroCopy::default());
    assert!(!test.socket.dont_fragment);
    let test = test_of(r#"{"zerocopy":1,"dont_fragment":1,"skip_rx_copy":1}"#).unwrap();
    assert!(test.socket.dont_fragment);
    assert_eq!(test.zerocopy.send, SendMode::Auto);
    assert_eq!(test.zerocopy.receive, ReceiveMode::Trunc);
}

#[test]
fn flags_are_never_written_false() {
    let json = Params::from_test(&TestConfig::new(Transport::Tcp)).to_json();
    assert!(!json.contains("false"), "{json}");
    assert_eq!(
        json,
        format!(
            r#"{{"tcp":true,"omit":0,"time":10,"num":0,"blockcount":0,"parallel":1,"len":131072,"pacing_timer":1000,"client_version":"{}"}}"#,
            iperf_model::VERSION
        )
    );
}

#[test]
fn the_last_transport_counts() {
    for (keys, transport) in [
        ("\"tcp\":true,\"udp\":true", Transport::Udp),
        ("\"udp\":true,\"tcp\":true", Transport::Udp),
        ("\"sctp\":true,\"udp\":true,\"tcp\":true", Transport::Sctp),
        ("\"vsock\":true", Transport::Vsock),
        ("\"vsock\":true,\"sctp\":true", Transport::Vsock),
        ("\"tcp\":true,\"mptcp\":true", Transport::Mptcp),
        ("\"mptcp\":true", Transport::Mptcp),
        ("\"mptcp\":true,\"udp\":true", Transport::Udp),
    ] {
        let json = format!("{{{keys},\"len\":1000}}");
        assert_eq!(test_of(&json).unwrap().transport, transport, "{keys}");
    }
}

#[test]
fn clients_of_this_program_have_larger_blocks() {
    let ours = |rest: &str| {
        let json = format!(r#"{{"client_version":"3.22 (iperf-rs 0.2.0)",{rest}}}"#);
        test_of(&json).map(|test| test.block)
    };
    for transport in ["tcp", "vsock", "mptcp"] {
        let with = |len: u32| ours(&format!(r#""{transport}":true,"len":{len}"#));
        assert_eq!(with(16 << 20), Ok(16 << 20), "{transport}");
        assert_eq!(with((16 << 20) + 1), Err(Code::BLOCK_SIZE), "{transport}");
    }
    assert_eq!(ours(r#""sctp":true,"len":1048577"#), Err(Code::BLOCK_SIZE));
    let messages = r#""vsock":true,"len":1048577,"extensions":{"seqpacket":true}"#;
    assert_eq!(ours(messages), Err(Code::BLOCK_SIZE));
    // What all streams have in memory is bounded.
    let many = |len: u32| ours(&format!(r#""tcp":true,"parallel":17,"len":{len}"#));
    assert_eq!(many(16 << 20), Err(Code::BLOCK_SIZE));
    assert_eq!(many(15 << 20), Ok(15 << 20));
}

#[test]
fn default_block_sizes_follow_the_transport() {
    assert_eq!(test_of(r#"{"sctp":true}"#).unwrap().block, 65_536);
    assert_eq!(test_of(r#"{"vsock":true}"#).unwrap().block, 65_536);
    assert_eq!(test_of(r#"{"mptcp":true}"#).unwrap().block, 131_072);
    assert_eq!(test_of(r#"{"udp":true}"#), Err(Code::UDP_BLOCK_SIZE));
}

/// The lowest and the highest value that is taken, and the code beyond.
#[test]
fn ranges_are_those_of_3_22() {
    const MAX: i64 = i64::MAX;
    for (transport, key, range, code) in [
        ("tcp", "omit", 0..=600, 12),
        ("tcp", "server_affinity", 0..=1024, 132),
        ("tcp", "time", 0..=86_400, 5),
        ("tcp", "num", 0..=MAX, 114),
        ("tcp", "blockcount", 0..=MAX, 114),
        ("tcp", "MSS", 0..=32_767, 10),
        ("tcp", "parallel", 1..=128, 6),
        ("tcp", "window", 0..=536_870_912, 8),
        ("tcp", "len", 1..=1_048_576, 7),
        ("sctp", "len", 1..=1_048_576, 7),
        ("vsock", "len", 1..=1_048_576, 7),
        ("udp", "len", 16..=65_507, 20),
        ("tcp", "bandwidth", 0..=MAX, 114),
        ("tcp", "fqrate", 0..=MAX, 114),
        ("tcp", "pacing_timer", 0..=MAX, 114),
        ("tcp", "burst", 1..=1000, 15),
        ("udp", "gso", 0..=MAX, 114),
        ("udp", "gso_dg_size", 0..=MAX, 114),
        ("udp", "gso_bf_size", 0..=MAX, 114),
        ("udp", "gro", 0..=1, 114),
        ("udp", "gro_bf_size", 0..=MAX, 114),
        ("tcp", "TOS", 0..=255, 21),
        ("tcp", "flowlabel", 1..=0xf_ffff, 127),
        ("tcp", "zerocopy", 0..=1, 114),
        ("tcp", "dont_fragment", 0..=1, 114),
        ("tcp", "skip_rx_copy", 0..=1, 114),
    ] {
        let verdict = |value: i64| {
            let json = format!(r#"{{"{transport}":true,"{key}":{value},"LEN":1000}}"#);
            test_of(&json).map(drop)
        };
        assert_eq!(verdict(*range.start()), Ok(()), "{key}");
        assert_eq!(verdict(*range.end()), Ok(()), "{key}");
        assert_eq!(verdict(range.start() - 1), Err(Code(code)), "{key}");
        if let Some(above) = range.end().checked_add(1) {
            assert_eq!(verdict(above), Err(Code(code)), "{key}");
        }
        // A narrowing to 32 bits would make these pass.
        if *range.end() < MAX {
            assert_eq!(verdict((1 << 32) + 1), Err(Code(code)), "{key}");
        }
    }
}

#[test]
fn the_last_bad_value_decides_the_code() {
    let mut json = r#"{"omit":-1,"time":-1,"parallel":0,"len":0,"burst":0,"TOS":256"#.to_owned();
    assert_eq!(test_of(&format!("{json}}}")), Err(Code::TOS));
    json += r#","skip_rx_copy":2}"#;
    assert_eq!(test_of(&json), Err(Code::RECV_PARAMS));
    let json = r#"{"TOS":256,"parallel":0,"omit":-1}"#;
    assert_eq!(test_of(json), Err(Code::TOS), "the order is 3.22's");
}

#[test]
fn offload_keys_mean_nothing_without_udp() {
    let test = test_of(r#"{"tcp":true,"gso":-1,"gro":7}"#).unwrap();
    assert!(!test.udp.gsro);
    let test = test_of(r#"{"udp":true,"len":100,"gso":1}"#).unwrap();
    assert!(test.udp.gsro);
}

#[test]
fn numbers_are_lenient() {
    let json = r#"{"TIME":2.7,"parallel":1e1,"omit":"5","time":9,"MSS":null}"#;
    let test = test_of(json).unwrap();
    assert_eq!(test.limit, Limit::Seconds(2));
    assert_eq!(test.streams, 10);
    assert_eq!((test.omit, test.socket.mss), (0, None));
}

#[test]
fn a_wrong_type_does_not_count() {
    let json = r#"{"title":5,"extra_data":{},"congestion":true,"authtoken":1,"reverse":1,
        "get_server_output":true}"#;
    let params = Params::parse(json.as_bytes()).unwrap();
    assert_eq!(params, Params::default());
}

#[test]
fn bytes_and_blocks_end_a_test_before_the_default_time() {
    let limit = |json| test_of(json).unwrap().limit;
    assert_eq!(limit(r#"{"num":5}"#), Limit::Bytes(5));
    assert_eq!(limit(r#"{"time":0,"blockcount":5}"#), Limit::Blocks(5));
    assert_eq!(limit(r#"{"time":3,"num":0}"#), Limit::Seconds(3));
    assert_eq!(
        limit(r#"{"time":0,"num":0,"blockcount":0}"#),
        Limit::Endless
    );
}

#[test]
fn zero_means_unset() {
    let test = test_of(r#"{"bandwidth":0,"fqrate":0,"window":0,"MSS":0,"TOS":0}"#).unwrap();
    assert_eq!(test, TestConfig::new(Transport::Tcp));
}

#[test]
fn invalid_utf8_is_replaced() {
    let params = Params::parse(b"{\"title\":\"a\xffb\",\"time\":3}").unwrap();
    assert_eq!(params.title.as_deref(), Some("a\u{fffd}b"));
    assert_eq!(params.time, Some(3));
}

#[test]
fn an_authentication_token_travels() {
    let mut params = Params::from_test(&TestConfig::new(Transport::Tcp));
    assert_eq!(params.auth_token(), None);
    params.set_auth_token("c2VjcmV0+/==");
    let read = Params::parse(params.to_json().as_bytes()).unwrap();
    assert_eq!(read.auth_token(), Some("c2VjcmV0+/=="));
    assert_eq!(read, params);
}

#[test]
fn a_full_test_survives_the_wire() {
    let mut test = TestConfig::new(Transport::Udp);
    test.direction = Direction::Bidirectional;
    test.streams = 128;
    test.limit = Limit::Bytes(i64::MAX.cast_unsigned());
    test.omit = 600;
    test.block = 1472;
    test.pacing = Pacing {
        rate: Some(BitRate::new(50_000_000)),
        burst: Some(1000),
        fq_rate: Some(BitRate::new(1)),
        timer_us: 1,
    };
    test.socket = SocketOptions {
        window: Some(536_870_912),
        mss: Some(32_767),
        no_delay: true,
        tos: 255,
        flow_label: Some(0xf_ffff),
        congestion: Some("bbr".to_owned()),
        dont_fragment: true,
    };
    test.payload = Payload::Repeating;
    test.zerocopy = ZeroCopy {
        send: SendMode::Splice,
        receive: ReceiveMode::Mmap,
    };
    test.verify = true;
    test.udp.counters_64bit = true;
    test.udp.gsro = true;
    test.server_affinity = Some(Placement::on(1024));
    test.title = Some("a \"title\"\n\tü".to_owned());
    test.extra_data = Some(String::new());
    test.get_server_output = true;
    let json = Params::from_test(&test).to_json();
    assert_eq!(test_of(&json), Ok(test));
}
