%% @doc Who gets to see and to download what.
-module(backup_access_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").
-include_lib("zotonic_core/include/zotonic.hrl").
-include_lib("zotonic_mod_admin/include/admin_menu.hrl").

-export([all/0, suite/0, init_per_testcase/2, end_per_testcase/2]).
-export([model_needs_permission/1, model_tells/1, downloads/1, no_trick_gets_another_file/1,
         forbidden/1, says_nothing_of_what_there_is/1, menu/1, start_action/1, settings_events/1, verify_and_restore_events/1]).

suite() ->
    [{timetrap, {minutes, 2}}].

all() ->
    [Name || {Name, 1} <- ?MODULE:module_info(exports), Name =/= module_info].

init_per_testcase(Name, Config) ->
    Context = backup_host:start(test_site:dir(Name, Config)),
    [{context, Context} | Config].

end_per_testcase(_, _) ->
    _ = [meck:unload(Module) || Module <- [mod_backup], is_mocked(Module)],
    backup_host:stop().

is_mocked(Module) ->
    lists:member(Module, meck:mocked()).

-define(PATHS, [
    <<"allow_manual_backup">>, <<"allow_backup_download">>, <<"daily_dump">>, <<"encrypt_backups">>,
    <<"has_encrypt_password">>, <<"list_backups">>, <<"is_backup_in_progress">>, <<"directory">>,
    <<"status">>, <<"running">>, <<"backup_time">>, <<"timezone">>, <<"verify_after">>,
    <<"is_config_locked">>, <<"is_filestore_enabled">>, <<"failures">>
]).

model_needs_permission(Config) ->
    Context = ?config(context, Config),
    Get = fun(Path, C) -> m_backup:m_get([Path, <<"rest">>], undefined, C) end,
    _ = [
        begin
            ?assertEqual({error, eacces}, Get(Path, backup_host:user([], Context)), Path),
            ?assertEqual({error, eacces}, Get(Path, backup_host:user([mod_admin], Context)), Path),
            ?assertMatch({ok, {_, [<<"rest">>]}}, Get(Path, backup_host:user([mod_backup], Context)), Path)
        end
     || Path <- ?PATHS
    ],
    ?assertMatch({ok, {false, []}}, m_backup:m_get([<<"admin_panel">>], undefined, backup_host:user([], Context))),
    ?assertEqual({error, unknown_path}, Get(<<"backup_encrypt_password">>, Context)),
    ?assertEqual({error, unknown_path}, m_backup:m_get([], undefined, Context)).

model_tells(Config) ->
    Context = ?config(context, Config),
    Get = fun(Path) -> {ok, {Value, []}} = m_backup:m_get([Path], undefined, Context), Value end,
    ?assertEqual(<<"1">>, Get(<<"daily_dump">>)),
    ?assertNot(Get(<<"has_encrypt_password">>)),
    ?assertMatch(#{is_nightly := true, is_stale := true, last_good := undefined, failure := undefined},
                 Get(<<"status">>)),
    _ = backup_host:backup(Context),
    ?assertMatch(#{is_stale := false, last_good := {_, _}, next := {_, _}}, Get(<<"status">>)),
    backup_host:age(2 * 24 * 3600 - 60, Context),
    ?assertMatch(#{is_stale := false}, Get(<<"status">>)),
    backup_host:age(120, Context),
    ?assertMatch(#{is_stale := true}, Get(<<"status">>)),
    backup_host:put_config(daily_dump, <<"0">>),
    ?assertMatch(#{is_nightly := false, is_stale := false}, Get(<<"status">>)),
    backup_host:put_config(backup_time, <<"25:00">>),
    #{problem := Problem} = Get(<<"status">>),
    ?assertNotEqual(nomatch, string:find(Problem, "25:00")),
    backup_status:failed(manual, database, <<"why">>, Context),
    ?assertMatch(#{failure := #{at := {_, _}, message := <<"why">>}}, Get(<<"status">>)).

downloads(Config) ->
    Context = ?config(context, Config),
    #{name := Name, files := #{file := File}, config := #{file := ConfigFile}} = backup_host:backup(Context),
    Dir = backup_site:dir(Context),
    {true, Path} = mod_backup:file_exists(File, Context),
    ?assertEqual(iolist_to_binary(filename:join(Dir, File)), iolist_to_binary(Path)),
    ?assertMatch({true, _}, mod_backup:file_exists(binary_to_list(File), Context)),
    %% It is there, and it is in the list.
    ?assert(filelib:is_regular(filename:join(Dir, ConfigFile))),
    ?assertEqual(false, mod_backup:file_exists(ConfigFile, Context)),
    ?assertEqual(false, mod_backup:file_exists(<<"backup.json">>, Context)),
    ?assertEqual(false, mod_backup:file_exists(<<Name/binary, ".sql.gz">>, Context)),
    %% No longer as it was made.
    test_site:write(filename:join(Dir, File), <<"short">>),
    ?assertEqual(false, mod_backup:file_exists(File, Context)).

no_trick_gets_another_file(Config) ->
    Context = ?config(context, Config),
    #{files := #{file := File}, config := #{file := ConfigFile}} = backup_host:backup(Context),
    Dir = backup_site:dir(Context),
    test_site:write(filename:join(Dir, "../secret.tar.gz"), <<"secret">>),
    Tricks = [
        <<>>, <<".">>, <<"..">>, <<"../secret.tar.gz">>, <<"..%2fsecret.tar.gz">>, <<"/etc/passwd">>,
        <<"./", File/binary>>, <<"x/../", File/binary>>, <<File/binary, 0>>, <<File/binary, 0, ".txt">>,
        <<File/binary, "/">>, <<File/binary, "/..">>, <<File/binary, ".enc">>, <<File/binary, " ">>,
        <<"backup/", File/binary>>, <<"./", ConfigFile/binary>>, <<"config-">>, <<"..\\secret.tar.gz">>,
        <<255, 254>>, [255, 0], "../" ++ binary_to_list(File), [-1], undefined,
        string:uppercase(File), <<"backup.json.status">>, <<".zbackup.lock">>
    ],
    _ = [?assertEqual(false, mod_backup:file_exists(Trick, Context), Trick) || Trick <- Tricks],
    %% A link in the place of a backup leads nowhere, nor does a list that names one outside.
    ok = file:rename(filename:join(Dir, File), filename:join(Dir, "moved")),
    ok = file:make_symlink("moved", filename:join(Dir, File)),
    ?assertEqual(false, mod_backup:file_exists(File, Context)),
    test_site:write(filename:join(Dir, "backup.json"),
        <<"{\"x-1\":{\"timestamp\":1700000000,\"files\":\"../secret.tar.gz\"}}">>),
    ?assertEqual(false, mod_backup:file_exists(<<"../secret.tar.gz">>, Context)).

forbidden(Config) ->
    Context = ?config(context, Config),
    #{files := #{file := File}} = backup_host:backup(Context),
    Forbidden = fun(Modules) -> mod_backup:file_forbidden(File, backup_host:user(Modules, Context)) end,
    ?assertNot(mod_backup:file_forbidden(File, Context)),
    %% How controller_file asks when it found the path in the URL.
    ?assertNot(mod_backup:file_forbidden(undefined, Context)),
    ?assertNot(Forbidden([mod_backup])),
    ?assert(Forbidden([mod_admin])),
    ?assert(Forbidden([])),
    backup_host:put_config(allow_backup_download, <<"0">>),
    ?assert(Forbidden([mod_backup])),
    ?assert(mod_backup:file_forbidden(File, Context)).

%% Whoever may not download gets the same answer for a file that is there and for one that is not.
says_nothing_of_what_there_is(Config) ->
    Context = ?config(context, Config),
    #{files := #{file := File}, config := #{file := ConfigFile}} = backup_host:backup(Context),
    host:set(root, mod_backup),
    Asked = [File, ConfigFile, <<"testsite-9.sql.gz">>, <<"../", File/binary>>, <<255, 0>>, undefined],
    Answers = fun(C) ->
        [
            begin
                {true, C1} = controller_backup_download:service_available(host:query([{<<"*">>, Name}], C)),
                {IsForbidden, _} = controller_backup_download:forbidden(C1),
                {IsThere, _} = controller_backup_download:resource_exists(C1),
                {IsForbidden, IsThere}
            end
         || Name <- Asked
        ]
    end,
    Allowed = [{false, true} | [{false, false} || _ <- tl(Asked)]],
    Denied = [{true, false} || _ <- Asked],
    ?assertEqual(Allowed, Answers(Context)),
    ?assertEqual(Allowed, Answers(backup_host:user([mod_backup], Context))),
    ?assertEqual(Denied, Answers(backup_host:user([mod_admin], Context))),
    ?assertEqual(Denied, Answers(backup_host:user([], Context))),
    backup_host:put_config(allow_backup_download, <<"0">>),
    ?assertEqual(Denied, Answers(Context)),
    %% All that a request is asked is answered, and the rule of the address leads here.
    {exports, Exports} = lists:keyfind(exports, 1, controller_file:module_info()),
    ?assertEqual([], (Exports -- controller_backup_download:module_info(exports)) -- [{module_info, 0}]),
    {ok, [Rules]} = file:consult(filename:join(backup_template_tests:priv_dir(), "dispatch/backup")),
    ?assertMatch({_, ["backup", "download", '*'], controller_backup_download, _},
                 lists:keyfind(backup_download, 1, Rules)).

menu(Config) ->
    [Backup, Separator, Deleted, kept] =
        mod_backup:observe_admin_menu(#admin_menu{}, [kept], ?config(context, Config)),
    ?assertMatch(#menu_item{id = admin_backup, parent = admin_modules, url = {admin_backup}}, Backup),
    ?assertMatch(#menu_separator{parent = admin_content}, Separator),
    ?assertMatch(#menu_item{id = admin_backup_deleted, parent = admin_content,
                            url = {admin_backup_deleted}}, Deleted),
    ?assertEqual([{acl, use, mod_backup}], lists:usort([Backup#menu_item.visiblecheck,
        Separator#menu_separator.visiblecheck, Deleted#menu_item.visiblecheck])).

start_action(Config) ->
    Context = ?config(context, Config),
    {_, Context} = action_backup_backup_start:render_action(undefined, undefined, [{is_full_backup, true}], Context),
    meck:new(mod_backup, [passthrough]),
    meck:expect(mod_backup, start_backup, fun(_, _) -> ok end),
    Event = fun(IsFull, C) ->
        _ = action_backup_backup_start:event(#postback{message = {backup_start, IsFull}}, C),
        said()
    end,
    ?assertEqual(growl, Event(true, backup_host:user([mod_backup], Context))),
    ?assertEqual(1, meck:num_calls(mod_backup, start_backup, [true, '_'])),
    ?assertEqual(growl, Event(false, Context)),
    ?assertEqual(1, meck:num_calls(mod_backup, start_backup, [false, '_'])),
    ?assertEqual(growl_error, Event(true, backup_host:user([mod_admin], Context))),
    backup_host:put_config(allow_manual_backup, <<"0">>),
    ?assertEqual(growl_error, Event(true, Context)),
    backup_host:put_config(allow_manual_backup, <<"1">>),
    host:set(is_read_only, true),
    ?assertEqual(growl_error, Event(true, Context)),
    ?assertEqual(2, meck:num_calls(mod_backup, start_backup, ['_', '_'])),
    host:set(is_read_only, false),
    _ = [
        begin
            meck:expect(mod_backup, start_backup, fun(_, _) -> {error, Reason} end),
            ?assertEqual(growl_error, Event(true, Context))
        end
     || Reason <- [in_progress, env_backup, not_running]
    ].

settings_events(Config) ->
    Context = ?config(context, Config),
    Event = fun(Message, Value, C) ->
        _ = controller_admin_backup:event(#postback{message = Message},
            host:query([{<<"triggervalue">>, Value}], C)),
        said()
    end,
    ?assertEqual(growl, Event(config_backup_daily, <<"2">>, Context)),
    ?assertEqual(2, backup_config:daily_dump(Context)),
    ?assertEqual(growl_error, Event(config_backup_daily, <<"7">>, Context)),
    ?assertEqual(growl_error, Event(config_backup_daily, <<"0">>, backup_host:user([mod_backup], Context))),
    ?assertEqual(2, backup_config:daily_dump(Context)),
    ?assertEqual(growl, Event(config_encrypt_backups, <<"1">>, Context)),
    ?assertNotEqual(<<>>, backup_config:encrypt_password(Context)),
    ?assertEqual(growl, Event(config_encrypt_backups, undefined, Context)),
    ?assertNot(backup_config:encrypt_backups(Context)),
    %% Off is off, also where the node says on.
    backup_host:put_env(encrypt_backups, true),
    ?assertNot(backup_config:encrypt_backups(Context)),
    ?assertEqual(growl, Event(config_backup_panel, <<"1">>, Context)),
    ?assert(backup_config:admin_panel(Context)),
    host:set(read_only_config, true),
    ?assertEqual(growl_error, Event(config_backup_daily, <<"1">>, Context)),
    host:set(read_only_config, false),
    backup_host:put_env(is_config_locked, true),
    ?assertEqual(growl_error, Event(config_backup_daily, <<"0">>, Context)),
    ?assertEqual(growl_error, Event(config_encrypt_backups, <<"1">>, Context)),
    ?assertEqual(growl, Event(config_backup_panel, undefined, Context)).

verify_and_restore_events(Config) ->
    Context = ?config(context, Config),
    meck:new(mod_backup, [passthrough]),
    Self = self(),
    meck:expect(mod_backup, verify_backup, fun(Name, _) -> Self ! {verify, Name}, ok end),
    meck:expect(mod_backup, restore_backup, fun(Name, Parts, _) -> Self ! {restore, Name, Parts}, ok end),
    Verify = fun(C) ->
        _ = controller_admin_backup:event(#postback{message = {verify, [{name, <<"x-1">>}]}}, C),
        said()
    end,
    ?assertEqual(growl_error, Verify(backup_host:user([mod_admin], Context))),
    ?assertEqual(growl, Verify(backup_host:user([mod_backup], Context))),
    receive {verify, <<"x-1">>} -> ok after 0 -> error(not_started) end,
    Restore = fun(Query, C) ->
        _ = controller_admin_backup:event(#submit{message = {restore_backup, [{name, <<"x-1">>}]}},
            host:query(Query, C)),
        said()
    end,
    Meant = [{<<"confirm">>, <<"testsite">>}],
    ?assertEqual(growl_error, Restore([{<<"database">>, <<"1">>}], Context)),
    ?assertEqual(growl_error, Restore([{<<"database">>, <<"1">>}, {<<"confirm">>, <<"yes">>}], Context)),
    ?assertEqual(growl_error, Restore(Meant, Context)),
    ?assertEqual(growl_error,
        Restore([{<<"database">>, <<"1">>} | Meant], backup_host:user([mod_backup], Context))),
    receive {restore, _, _} -> error(restored) after 50 -> ok end,
    ?assertEqual(growl, Restore([{<<"database">>, <<"1">>}, {<<"security">>, <<"on">>} | Meant], Context)),
    receive {restore, <<"x-1">>, [database, security]} -> ok after 5000 -> error(not_started) end,
    %% The one that the dialog showed, and no newer one of its name.
    Shown = [{name, <<"x-1">>}, {timestamp, {{2026, 11, 24}, {3, 0, 0}}}],
    _ = controller_admin_backup:event(#submit{message = {restore_backup, Shown}},
        host:query([{<<"files">>, <<"1">>} | Meant], Context)),
    ?assertEqual(growl, said()),
    receive {restore, <<"x-1">>, [files, {timestamp, 1795489200}]} -> ok after 5000 -> error(another) end,
    %% What is refused is said at once.
    _ = [
        begin
            meck:expect(mod_backup, restore_backup, fun(_, _, _) -> {error, Reason} end),
            ?assertEqual(growl_error, Restore([{<<"database">>, <<"1">>} | Meant], Context))
        end
     || Reason <- [in_progress, not_running, {damaged, <<"it is damaged">>}]
    ],
    meck:expect(mod_backup, running, fun(_) -> #{kind => backup} end),
    meck:expect(mod_backup, restore_backup, fun(_, _, _) -> Self ! asked, ok end),
    ?assertEqual(growl_error, Restore([{<<"database">>, <<"1">>} | Meant], Context)),
    receive asked -> error(asked) after 50 -> ok end.

%% What the page said.
said() ->
    receive
        {host, {Said, _}} when Said =:= growl; Said =:= growl_error -> Said
    after 0 -> nothing
    end.
