"""Why a replay loses a driver's own tests, where somebody found out: for each driver, by cause, parts of names."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["CAUSES"]

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

CAUSES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "urllib3": {
        "the test looks at what its server got, or waits for it, and a replay asks no server": (
            "test_socketlevel.py",
            "test_socks.py",
            "test_chunked_transfer.py",
            "TestConnectionPoolTimeouts",
        ),
        "a replay does not connect, so urllib3 does not warn, writes no key log, and checks no certificate": (
            "test_unverified_ssl",
            "test_ssl_unverified_with_ca_certs",
            "test_https_timeout",
            "test_tunnel[h11]",
            "test_ssl_wrong_system_time",
            "test_set_ssl_version_to_tls_version",
            "test_sslkeylogfile",
            "test_http2_probe",
            "test_no_ssl.py",
        ),
        "the test looks at the socket of a connection, and a replay has none": (
            "test_socket_timeout_updated_on_reuse",
            "test_keepalive_close",
            "test_shutdown_on_connection",
            "test_nagle",
            "test_is_verified_http",
        ),
        "HTTP/2 is recorded as what cannot be replayed": ("test_simple[h2]",),
        "the port of the test's server is another one than in the recording": (
            "test_too_many_redirects",
            "test_cross_host_redirect_remove_headers",
            "test_https_headers_forwarding",
        ),
        "the present time stands in the query": ("test_redirect_after",),
        "a body that is read at once has not been read yet when urllib3 logs how much of it is left": (
            "test_debug_log",
        ),
        "a tunnel that timed out is answered where the attempt is made, where urllib3 wraps it otherwise": (
            "test_tunneling_proxy_request_timeout",
        ),
        "another test has loaded `ssl` anew, so that its errors are of other classes": (
            "test_hostname_checks_common_name_respected",
            "test_https_proxy_tls_error",
            "test_proxy_https_target_tls_error",
            "TestHTTPSProxyVerification",
        ),
    },
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
            "test_pgconn_error",
            "test_pgresult",
        ),
        "the test calls `connection.pgconn` itself, most often to bring the connection into a state": (
            "test_active_close",
            "test_context_active_rollback_no_clobber",
            "test_commit",
            "test_rollback",
            "test_auto_transaction",
            "test_notice_handlers",
            "test_diag_encoding",
            "test_close",
            "test_stream_chunked_invalid_size",
            "test_get_params",
            "test_dsn",
            "test_full_protocol_version",
        ),
        "the test reads libpq's trace of the protocol, and a replay sends nothing": (
            "_trace",
            "test_transaction_state_implicit_begin",
        ),
        "a cursor on the server is fetched from that was declared under another object of the same name": (
            "test_steal_cursor",
            "test_cant_scroll_by_default",
        ),
        "a cursor on the server is read in other steps than in the recording, or its fetches are counted": (
            "test_row_factory",
            "test_itersize",
            "test_stream_chunked_row_factory",
        ),
        "psycopg's code in C takes no stand-in for libpq's connection": (
            "test_list_dumper",
            "test_str_list_dumper",
            "test_copy_in_format",
            "test_file_writer",
        ),
        "the bytes that a COPY sends differ, since what the server says of its columns is not asked for": (
            "test_rowlen_mismatch",
            "test_copy_in_text_pinned",
        ),
        "a replay does not make what the test sees: a COPY's thread, `executemany`'s query, what is prepared": (
            "test_worker_life",
            "test_worker_error_propagated",
            "test_query_params_executemany",
            "test_auto_prepare",
            "test_evict_lru",
        ),
        "`connection.info` of a connection that is closed or broken tells what it told while it was open": (
            "test_attrs",
            "test_error_message",
            "test_resolve_hostaddr_conn",
        ),
        "a connection is ended while a pipeline or a COPY goes on, and a replay has another state of it": (
            "test_pipeline_broken_conn_exit",
            "test_copy_out_error_with_copy_finished",
            "test_implicit_transaction",
            "test_executemany",
        ),
        "the number of the server's process is a parameter": ("test_context_inerror_rollback_no_clobber",),
        "a stand-in does not follow a statement that changes how texts are encoded or quoted": (
            "test_mogrify_badenc",
            "test_as_bytes",
            "test_quote_stable_despite_deranged_libpq",
        ),
        "the test counts on when garbage is collected": ("test_warn_close",),
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
        "the list of notices or of notifications is an object of the test's without `append`": ("noappend",),
        "a program of the test's own asks the server": ("NotifiesTests::test_notif", "test_many_notifies"),
        "a program of the test's own crashes or ends otherwise without the server": (
            "test_copy_from_segfault",
            "test_copy_to_segfault",
        ),
        "an object of the app's raises while the replay reads what is bound, which counts as a fault of ours": (
            "test_bad_types",
            "test_callproc_badparam",
            "test_executemany_propagate_exceptions",
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
        "a composite value as a parameter has no form in a cassette": ("test_composites",),
        "the connection was cancelled while it was made": ("test_connection_cancelled_during_transport_setup",),
        "how many rows the driver took before the server's error came is a matter of time": (
            "test_executemany_client_server_failure_conflict",
            "test_executemany_server_failure_during_writes",
        ),
        "the test looks at the number of the statements that asyncpg prepared by itself": (
            "test_introspection_no_stmt_cache_03",
        ),
        "calls of several tasks at once on one connection, of which the driver refuses one or another": (
            "test_prepare_19_concurrent_calls",
            "test_prepare_20_concurrent_calls",
        ),
        "the test counts on how long the server takes": (
            "test_pool_max_inactive_time_04",
            "test_timeout_06",
            "test_failed_cancel_during_close_without_timeout",
        ),
    },
}
