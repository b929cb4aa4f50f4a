%% @doc Restores by the Zotonic module, and what it says of those that failed or were interrupted: in the stand-in
%% for Zotonic.
-module(backup_restore_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-export([all/0, suite/0, init_per_testcase/2, end_per_testcase/2]).
-export([restores/1, restores_what_there_is/1, never_paused_for_ever/1, password_survives_a_restore/1]).
-export([restore_that_fails/1, restore_options/1]).
-export([failures_are_shown/1, interrupted_restore_is_shown/1, settles_at_start/1, settles_later/1]).

suite() ->
    [{timetrap, {minutes, 2}}].

all() ->
    [Name || {Name, 1} <- ?MODULE:module_info(exports), Name =/= module_info].

init_per_testcase(Name, Config) ->
    Dir = test_site:dir(Name, Config),
    meck:new(zbackup, [passthrough, no_link]),
    [{dir, Dir}, {context, backup_host:start(Dir, #{})} | Config].

end_per_testcase(_, _) ->
    backup_host:stop(),
    meck:unload().

restores(Config) ->
    Context = ?config(context, Config),
    #{name := Name} = backup_host:backup(Context),
    fake_restore(fun(Request, RestoredName, Options) ->
        ?assertMatch(#{site := <<"testsite">>, media_dir := _, config_files := [_], security_dir := _}, Request),
        ?assertEqual({Name, #{only => [config, database], trust_dump => true}}, {RestoredName, Options}),
        {ok, #{backup => #{}, restored => [database], skipped => [], warnings => []}}
    end),
    ?assertEqual(ok, mod_backup:observe_backup_restore({backup_restore, Name, [database, config]}, Context)),
    backup_host:await(<<"restore_started">>),
    receive {host, paused} -> ok after 1000 -> error(never_paused) end,
    backup_host:await(<<"restored">>),
    receive {host, {restart, testsite}} -> ok after 1000 -> error(never_restarted) end,
    %% The server goes away with the site: the one who asked gets an answer all the same.
    meck:new(z_sites_manager, [passthrough]),
    meck:expect(z_sites_manager, restart, fun(_) ->
        ok = gen_server:stop('mod_backup$testsite'),
        {error, failed}
    end),
    ?assertEqual({error, failed}, mod_backup:restore_backup(Name, [database, config], Context)),
    receive {host, unpaused} -> ok after 0 -> error(still_paused) end.

%% A shell asks for the database and the files of every backup.
restores_what_there_is(Config) ->
    Context = ?config(context, Config),
    Self = self(),
    fake_restore(fun(_, Name, #{only := Parts}) -> Self ! {asked, Name, Parts}, {error, usage, <<"no">>} end),
    Asked = fun(Name, Parts) ->
        _ = mod_backup:observe_backup_restore({backup_restore, Name, Parts}, Context),
        receive {asked, Name, Asked} -> Asked after 5000 -> error(never) end
    end,
    #{name := Files} = backup_host:backup(#{day => {2026, 11, 20}}, Context),
    ?assertEqual([files], Asked(Files, [database, files])),
    backup_host:with_database(test_site:dump(""), ?config(dir, Config)),
    #{name := All, files := #{file := File}} = backup_host:backup(#{day => {2026, 11, 21}}, Context),
    ?assertEqual([database, files], Asked(All, [database, files])),
    ok = file:delete(filename:join(backup_site:dir(Context), File)),
    ?assertEqual([database, files], Asked(All, [database, files])),
    timer:sleep(1100),
    #{name := Database} = backup_host:backup(#{day => {2026, 11, 23}, media_dir => undefined}, Context),
    ?assertEqual([database], Asked(Database, [files, database])),
    ?assertEqual([database], Asked(<<"recent">>, [database, files])),
    %% What is asked for by name is wanted.
    ?assertEqual([files], Asked(Database, [files])),
    ?assertEqual([config, database, files], Asked(Database, [database, files, config])).

%% Whoever dies while the database is replaced, the site can go on.
never_paused_for_ever(Config) ->
    Context = ?config(context, Config),
    Self = self(),
    meck:expect(zbackup, restore, fun(_, _, _) -> {ok, fake} end),
    meck:expect(zbackup, await, fun(fake, Tell, Acc) ->
        _ = Tell(#{phase => load, done => 0, total => undefined, rate => 0}, Acc),
        Self ! {loading, self()},
        receive never -> ok end
    end),
    Loading = fun() ->
        _ = spawn(fun() -> mod_backup:restore_backup(Context) end),
        receive {host, paused} -> ok after 5000 -> error(never_paused) end,
        receive {loading, Pid} -> Pid after 5000 -> error(never_loading) end
    end,
    Unpaused = fun() -> receive {host, unpaused} -> ok after 5000 -> error(paused_for_ever) end end,
    exit(Loading(), kill),
    Unpaused(),
    ok = backup_host:idle(Context),
    _ = Loading(),
    gen_server:stop('mod_backup$testsite'),
    Unpaused(),
    process_flag(trap_exit, true),
    _ = backup_host:server(Context),
    _ = Loading(),
    exit(whereis('mod_backup$testsite'), kill),
    Unpaused().

%% The password is in the database that is replaced.
password_survives_a_restore(Config) ->
    Context = ?config(context, Config),
    backup_host:with_database(test_site:dump(""), ?config(dir, Config)),
    Restore = fun(Parts, Before, After) ->
        host:set(config, Before),
        fake_restore(fun(_, _, _) ->
            host:set(config, After),
            {ok, #{backup => #{}, restored => Parts, skipped => [], warnings => []}}
        end),
        ok = mod_backup:restore_backup(<<"x">>, Parts, Context),
        {ok, #{is_on := IsOn, password := Password}} = backup_config:encryption(Context),
        {IsOn, Password}
    end,
    Settings = fun(On, Password) ->
        #{{mod_backup, encrypt_backups} => On, {mod_backup, backup_encrypt_password} => Password}
    end,
    On = Settings(<<"1">>, <<"now">>),
    ?assertEqual({true, <<"now">>}, Restore([database], On, #{})),
    ?assertEqual({true, <<"now">>}, Restore([database], On, Settings(<<"1">>, <<"then">>))),
    ?assertEqual({true, <<"now">>}, Restore([database], On, Settings(<<"0">>, <<"now">>))),
    %% It opens the newer backups, also when the newest are not encrypted.
    ?assertEqual({false, <<"now">>}, Restore([database], Settings(<<"0">>, <<"now">>), #{})),
    %% There was none.
    ?assertEqual({true, <<"then">>}, Restore([database], #{}, Settings(<<"1">>, <<"then">>))),
    %% A database that is lost is what a restore is for.
    fake_restore(fun(_, _, _) ->
        host:set(is_database_down, false),
        {ok, #{backup => #{}, restored => [], skipped => [], warnings => []}}
    end),
    host:set(is_database_down, true),
    ?assertEqual(ok, mod_backup:restore_backup(<<"x">>, [database], Context)).

restore_that_fails(Config) ->
    Context = ?config(context, Config),
    fake_restore(fun(_, _, _) -> {error, damaged, <<"it is damaged">>} end),
    ?assertEqual({error, {damaged, <<"it is damaged">>}}, mod_backup:restore_backup(Context)),
    backup_host:await(<<"restore_error">>),
    receive {host, unpaused} -> ok after 1000 -> error(still_paused) end,
    receive {host, {restart, _}} -> error(restarted) after 0 -> ok end,
    meck:expect(zbackup, await, fun({fake, _}, Tell, Acc) ->
        _ = Tell(#{phase => load, done => 0, total => undefined, rate => 0}, Acc),
        error(crash)
    end),
    ?assertMatch({error, {internal, _}}, mod_backup:restore_backup(Context)),
    receive {host, unpaused} -> ok after 1000 -> error(still_paused_after_a_crash) end,
    meck:expect(zbackup, restore, fun(_, _, _) -> {error, unknown_backup, <<"none">>} end),
    ?assertEqual({error, unknown_backup}, mod_backup:restore_backup(<<"x">>, [files], Context)).

%% Whoever looks at the page later sees what went wrong, until it goes well.
failures_are_shown(Config) ->
    Context = ?config(context, Config),
    Failures = fun() ->
        {ok, {Failures, []}} = m_backup:m_get([<<"failures">>], undefined, Context),
        [{Kind, Message} || #{kind := Kind, message := Message, at := {_, _}} <- Failures]
    end,
    ?assertEqual([], Failures()),
    #{name := Name} = backup_host:backup(Context),
    ok = mod_backup:verify_backup(<<"other-1">>, Context),
    backup_host:await(<<"verify_error">>),
    backup_host:idle(Context),
    ?assertMatch([{verify, _}], Failures()),
    fake_restore(fun(_, _, _) -> {error, damaged, <<"it is damaged">>} end),
    {error, _} = mod_backup:restore_backup(<<"x">>, [files], Context),
    ?assertMatch([{restore, <<"it is damaged">>}, {verify, _}], lists:sort(Failures())),
    ok = backup_host:idle(Context),
    ok = mod_backup:verify_backup(Name, Context),
    backup_host:idle(Context),
    ?assertMatch([{restore, _}], Failures()),
    %% Also when the site was started again.
    gen_server:stop('mod_backup$testsite'),
    _ = backup_host:server(Context),
    ?assertMatch([{restore, <<"it is damaged">>}], Failures()),
    fake_restore(fun(_, _, _) -> {ok, #{backup => #{}, restored => [], skipped => [], warnings => []}} end),
    ok = mod_backup:restore_backup(<<"x">>, [files], Context),
    ?assertEqual([], Failures()).

%% A restore that the power cut off, and that could not be completed.
interrupted_restore_is_shown(Config) ->
    Context = ?config(context, Config),
    gen_server:stop('mod_backup$testsite'),
    Settling = fun(Result) ->
        meck:expect(zbackup, settle, fun(_) -> {ok, {fake, Result}} end),
        meck:expect(zbackup, await, fun({fake, Fake}, _, Acc) -> {Fake, Acc} end),
        _ = backup_host:server(Context),
        gen_server:stop('mod_backup$testsite'),
        [{Kind, Message} || #{kind := Kind, message := Message} <- mod_backup:failures(Context)]
    end,
    Settled = fun(IsCompleted) ->
        {ok, #{settled => #{backup => <<"testsite-3">>, completed => IsCompleted, skipped => []}}}
    end,
    [{restore, TakenBack}] = Settling(Settled(false)),
    ?assertNotEqual(nomatch, string:find(TakenBack, "testsite-3")),
    ?assertEqual([{restore, TakenBack}], Settling({ok, #{settled => undefined}})),
    ?assertEqual([], Settling(Settled(true))),
    ?assertEqual([{restore, <<"why">>}], Settling({error, io, <<"why">>})),
    ?assertEqual([{restore, <<"why">>}], Settling({error, in_progress, <<"by PID 1">>})).

restore_options(Config) ->
    Context = ?config(context, Config),
    Self = self(),
    fake_restore(fun(Request, Name, Options) ->
        Self ! {asked, Name, Options, maps:get(encryption, Request, none)},
        {error, usage, <<"no">>}
    end),
    backup_host:put_config(backup_encrypt_password, <<"pw">>),
    _ = mod_backup:restore_backup(Context),
    _ = mod_backup:restore_backup(<<"recent">>, [], Context),
    Expected = {asked, <<"recent">>, #{only => [database, files], trust_dump => true}, #{password => <<"pw">>}},
    receive Expected -> ok after 0 -> error(first) end,
    receive Expected -> ok after 0 -> error(second) end,
    ?assertEqual({error, {unknown_option, everything}},
                 mod_backup:restore_backup(<<"recent">>, [database, everything], Context)),
    %% What a shell may give.
    ?assertEqual([{error, {invalid_options, Options}} || Options <- [database, #{}, [database | files]]],
                 [mod_backup:observe_backup_restore({backup_restore, <<"recent">>, Options}, Context)
                  || Options <- [database, #{}, [database | files]]]),
    ?assertEqual([{error, {invalid_name, Name}} || Name <- [other, 7, [-1]]],
                 [mod_backup:observe_backup_restore({backup_restore, Name, [files]}, Context)
                  || Name <- [other, 7, [-1]]]),
    _ = mod_backup:observe_backup_restore({backup_restore, "x-1", [files]}, Context),
    receive {asked, <<"x-1">>, #{only := [files]}, _} -> ok after 0 -> error(third) end,
    _ = mod_backup:restore_backup("x-1", [{timestamp, 17}, files], Context),
    receive {asked, <<"x-1">>, #{only := [files], timestamp := 17}, _} -> ok after 0 -> error(fourth) end,
    _ = mod_backup:restore_backup("x-1", [{timestamp, 17}], Context),
    receive {asked, <<"x-1">>, #{only := [database, files], timestamp := 17}, _} -> ok after 0 -> error(fifth) end,
    ?assertEqual({error, {unknown_option, {timestamp, soon}}},
                 mod_backup:restore_backup("x-1", [{timestamp, soon}], Context)).

settles_at_start(Config) ->
    Context = ?config(context, Config),
    gen_server:stop('mod_backup$testsite'),
    Self = self(),
    meck:expect(zbackup, settle, fun(Request) ->
        Self ! {settling, Request, self()},
        receive go -> {error, not_found, <<"nothing">>} end
    end),
    {ok, _} = mod_backup:start_link([{context, Context}]),
    Worker = receive {settling, #{site := <<"testsite">>}, Pid} -> Pid after 5000 -> error(never) end,
    ?assertMatch(#{kind := settle}, mod_backup:running(Context)),
    ?assertEqual({error, in_progress}, mod_backup:start_backup(Context)),
    Worker ! go,
    ok = backup_host:idle(Context).

%% Another program has the folder at the start.
settles_later(Config) ->
    Context = ?config(context, Config),
    gen_server:stop('mod_backup$testsite'),
    Self = self(),
    meck:expect(zbackup, settle, fun(_) -> Self ! settling, {error, in_progress, <<"by PID 1">>} end),
    Server = backup_host:server(Context),
    receive settling -> ok after 5000 -> error(never) end,
    Server ! check,
    receive settling -> ok after 5000 -> error(never_again) end,
    ok = backup_host:idle(Context),
    meck:expect(zbackup, settle, fun(_) -> Self ! settled, {error, not_found, <<"nothing">>} end),
    Server ! check,
    receive settled -> ok after 5000 -> error(never_settled) end,
    ok = backup_host:idle(Context),
    Server ! check,
    _ = sys:get_state(Server),
    receive settled -> error(settled_again) after 100 -> ok end.

%% Helpers

fake_restore(Fun) ->
    meck:expect(zbackup, restore, fun(Request, Name, Options) -> {ok, {fake, Fun(Request, Name, Options)}} end),
    meck:expect(zbackup, await, fun
        ({fake, Result}, Tell, Acc) ->
            Progress = #{phase => load, done => 0, total => undefined, rate => 0},
            {Result, Tell(Progress, Acc)};
        (Job, Tell, Acc) ->
            meck:passthrough([Job, Tell, Acc])
    end).
