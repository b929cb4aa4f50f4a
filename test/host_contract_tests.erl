%% @doc The stand-in has what `src/' uses, and the list of that is not empty by mistake.
-module(host_contract_tests).

-include_lib("eunit/include/eunit.hrl").

the_stand_in_has_it_all_test() ->
    Missing = [
        Call
     || {Module, Function, Arity} = Call <- host_contract:functions(),
        code:ensure_loaded(Module) =/= {module, Module}
            orelse not erlang:function_exported(Module, Function, Arity)
    ],
    ?assertEqual([], Missing).

the_list_is_whole_test() ->
    Functions = host_contract:functions(),
    Known = [
        {m_config, get_value, 3}, {m_config, set_value, 4}, {z_acl, is_allowed, 3}, {z_mqtt, publish, 3},
        {z_sites_manager, restart, 1}, {z_db_pool, pause_connections, 1}, {jobs, run, 2},
        {z_trans, trans, 2}, {z_email, send_admin, 3}
    ],
    ?assertEqual([], Known -- Functions),
    ?assertEqual([], [Call || {Module, _, _} = Call <- Functions,
                      lists:member(Module, [zbackup, mod_backup, lists, m_backup])]).

records_are_as_in_zotonic_test() ->
    Records = host_contract:records(),
    Known = [
        {record, admin_menu, []},
        {record, menu_item, [id, parent, label, url, icon, visiblecheck, sort]},
        {record, menu_separator, [parent, visiblecheck, sort]},
        {record, m_config_update, [module, key, value]},
        {record, filestore_credentials_lookup, [id, path]},
        {record, filestore_credentials, [service, service_url, location, credentials]},
        {record, postback, [message, trigger, target]},
        {record, submit, [message, form, target]}
    ],
    ?assertEqual([], Known -- Records),
    %% A context is used through functions: its fields are not those of Zotonic's.
    ?assertNot(lists:keymember(context, 2, Records)).

%% Zotonic compiles the tests as well, with its own records: a context is made by functions.
tests_know_no_context_test() ->
    Sources = filelib:wildcard(filename:join(filename:dirname(source()), "*.erl")),
    ?assert(length(Sources) > 10),
    Field = "#context" ++ "{",
    ?assertEqual([], [Source || Source <- Sources, {ok, Text} <- [file:read_file(Source)],
                      string:find(Text, Field) =/= nomatch]).

source() ->
    proplists:get_value(source, ?MODULE:module_info(compile)).
