"""Why a replay loses a driver's own tests, where somebody found out: for each driver, by cause, parts of names."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["BY_NATURE", "CAUSES"]

_SQLITE3: Mapping[str, tuple[str, ...]] = {
    "the test asks whether the file of the database is there, and a replay makes none": (
        "test_open_undecodable_uri",
        "test_open_unquoted_uri",
        "test_open_uri",
        "test_open_with_path_like_object",
        "test_open_with_undecodable_path",
    ),
    "a function, an authorizer or a handler of the app's is called by the database alone, so a replay calls none": (
        "TraceCallbackTests",
        "ProgressTests",
        "IsolationLevel",
        "FunctionTests",
        "AggregateTests",
        "AuthorizerRaiseExceptionTests",
        "test_executescript_step_through_select",
    ),
    "a replay refuses what is not recorded: `serialize` and `deserialize`": ("SerializeTests",),
    "no class can be derived of a `factory` that is a function": ("test_factory_database_arg",),
    "a blob is answered by a copy in memory, which does not see that its row is changed or that the app closed it": (
        "BlobTests",
    ),
    "a converter of the test closes the cursor that calls it": ("test_recursive_cursor_close",),
    "an adapter of the test raises `KeyboardInterrupt`": ("test_error_in_conform",),
    "the converter stands in `sqlite3.converters` without `register_converter`": ("test_foo",),
}

_URLLIB3_BY_NATURE: Mapping[str, tuple[str, ...]] = {
    "the test looks at what its server got, or waits for it, and a replay asks no server": (
        "TestClientCerts",
        "TestContentFraming",
        "TestHeaders",
        "TestSNI",
        "TestALPN",
        "test_chunked_transfer.py",
        "test_closing_response_actually_closes_connection",
        "test_recovery_when_server_closes_connection",
        "test_ssl_custom_validation_failure_terminates",
        "test_tunnel_sets_http_11_alpn",
        "TestConnectionPoolTimeouts",
    ),
    "a replay shakes no hands, so urllib3 loads no certificates, and asks no proxy": (
        "test_ssl_load_default_certs_when_empty",
        "test_debuglevel",
    ),
    "the test ends a read that waits for its server, and in a replay none waits": (
        "test_socket_shutdown_stops_recv",
    ),
}
_HTTP_CLIENT_BY_NATURE: Mapping[str, tuple[str, ...]] = {
    "the test looks at what was sent, by its server or by a socket of its own, and a replay sends nothing": (
        "TestUrlopen",
        "RequestBodyTest",
        "TransferEncodingTest",
        "test_blocksize_request",
        "test_send_file",
        "test_send_iter",
        "test_ipv6host_header",
        "test_userpass_inurl_w_spaces",
        "test_redirect_encoding",
        "test_response_fileno",
    ),
    "the test looks at a connection or a socket of a class of its own, and a replay makes no connection": (
        "PersistenceTest",
        "SourceAddressTest",
        "TunnelTests",
        "test_error_leak",
        "test_http_closed",
        "test_invalid_closed",
    ),
}
BY_NATURE: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "urllib3": _URLLIB3_BY_NATURE,
    "http.client": _HTTP_CLIENT_BY_NATURE,
}
"""Of `CAUSES`, those which say that a test is about something that no replay can have. They come first there."""

CAUSES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "urllib3": {
        **_URLLIB3_BY_NATURE,
        "the present time stands in the query": ("test_redirect_after",),
        "the identity of a thread that has ended is given to the next one, also without us": (
            "test_http2_probe_blocked_per_thread",
        ),
    },
    "http.client": _HTTP_CLIENT_BY_NATURE,
    "sqlite3": _SQLITE3,
    "sqlite3-memory": _SQLITE3,
    "psycopg": {
        "the test calls libpq itself, by `psycopg.pq`, beneath what is recorded": (
            "test_connect_args",
            "test_connect_badargs",
            "test_generators.py",
            "test_waiting.py",
            "test_waiting_async.py",
            "test_dump_global_ctx",
            "test_finishedpgconn",
            "test_diag_all_attrs",
            "test_diag_right_attr",
            "test_quote_stable_despite_deranged_libpq",
        ),
        "the test calls `connection.pgconn` itself, most often to bring the connection into a state": (
            "test_active_close",
            "test_context_active_rollback_no_clobber",
            "test_commit",
            "test_rollback",
            "test_auto_transaction",
            "test_notice_handlers",
            "test_diag_encoding",
        ),
        "the test reads libpq's trace of the protocol, and a replay sends nothing": (
            "_trace",
            "test_transaction_state_implicit_begin",
        ),
        "what libpq itself tells is not recorded: its last message, the minor version of the protocol": (
            "test_error_message",
            "test_full_protocol_version",
        ),
        "an error of a replay has no objects of libpq's: no `pgconn`, no `pgresult`": (
            "test_pgconn_error",
            "test_pgresult",
        ),
        "psycopg's code in C takes no stand-in for libpq's connection: a transformer of the test's own": (
            "test_list_dumper",
            "test_str_list_dumper",
        ),
        "a replay does not make what the test sees: the thread that writes a COPY": (
            "test_worker_life",
            "test_worker_error_propagated",
        ),
        "a replay does not make what the test sees: the list of the statements that psycopg prepared": (
            "test_auto_prepare",
            "test_evict_lru",
        ),
        "the test replaces `Connection._connect_gen`, and a replay has its own in that place": (
            "test_resolve_hostaddr_conn",
        ),
    },
    "psycopg2": {
        "a replay refuses what is not recorded: large objects": ("LargeObject",),
        "a replay refuses what is not recorded: asynchronous connections": (
            "AsyncTests",
            "test_async_cancel",
            "test_external_close_async",
        ),
        "a replay refuses what is not recorded: `tpc_recover`": (
            "test_recovered_xids",
            "test_status_after_recover",
            "test_tpc_recover",
            "test_unparsed_roundtrip",
            "test_xid_",
        ),
        "nothing runs in a replay, so `cancel` does nothing": ("test_cancel_fails_prepared",),
        "a program of the test's own asks the server": ("NotifiesTests::test_notif", "test_many_notifies"),
        "a program of the test's own crashes or ends otherwise without the server": (
            "test_copy_from_segfault",
            "test_copy_to_segfault",
        ),
        "a function of the test's waits for the server (`set_wait_callback`), and takes a notice meanwhile": (
            "test_non_block_after_notice",
        ),
        "another cursor of the same name fetches, or fetches are counted": (
            "test_named_cursor_stealing",
            "test_iter_named_cursor_itersize",
        ),
        "what libpq itself tells is not recorded: pointers, its last message, the algorithm of passwords": (
            "test_pgresult_ptr",
            "TestConnectionInfo",
            "test_encrypt_server",
            "test_notices_limited",
        ),
        "the error of a replay is another object than the driver's: its cursor, its class of its own": (
            "ExceptionsTestCase",
            "test_exception_class_fallback",
        ),
        "the value of a caster or of an adapter of the test's own": (
            "test_fotz_tzinfo",
            "testAdaptBytearray",
            "testByteaHexCheckFalsePositive",
        ),
    },
    "asyncpg": {
        "a value of the test is the present time": ("test_standard_codecs",),
        "the test cancels the opening of a connection, so there is none in the recording": (
            "test_connection_cancelled_during_transport_setup",
        ),
        "the test looks at the number of the statements that asyncpg prepared by itself": (
            "test_introspection_no_stmt_cache_03",
        ),
        "a replay answers at once, and the test wants a call that is still under way": (
            "test_prepare_19_concurrent_calls",
            "test_prepare_20_concurrent_calls",
            "test_failed_cancel_during_close_without_timeout",
        ),
        "the test allows a statement a quarter of a second, also on a busy machine": (
            "test_introspection_on_large_db",
        ),
        "how often the test asks depends on how long the answers take": ("test_pool_max_inactive_time_04",),
    },
}
