%% @doc The backups of the night: made when they are due, made up when missed, told about when they fail.
%% What is due at what moment is a matter of the native library and tested there; here the backups that
%% are there are made older.
-module(backup_nightly_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").
-include_lib("zotonic_core/include/zotonic.hrl").

-export([all/0, suite/0, init_per_testcase/2, end_per_testcase/2]).
-export([made_when_unset/1, made_once/1, missed_night/1, only_database/1, switched_off/1, without_proof/1,
         tells_once/1, tells_whom/1, by_hand_is_not_mailed/1, missing_is_told_once/1, not_missing_yet/1,
         failed_proof/1, damaged_media_of_before/1, another_program/1, wrong_time/1, waits_after_a_failure/1, mail_that_fails/1,
         being_made_is_not_missing/1, check_that_fails/1]).

-define(A_DAY, 24 * 3600).

suite() ->
    [{timetrap, {minutes, 2}}].

all() ->
    [Name || {Name, 1} <- ?MODULE:module_info(exports), Name =/= module_info].

init_per_testcase(Name, Config) ->
    Dir = test_site:dir(Name, Config),
    meck:new(zbackup, [passthrough, no_link]),
    [{dir, Dir}, {context, backup_host:start(Dir)} | Config].

end_per_testcase(_, _) ->
    backup_host:stop(),
    meck:unload().

made_when_unset(Config) ->
    Context = ?config(context, Config),
    start(Context),
    backup_host:await(<<"completed">>),
    ?assertMatch([#{is_files_present := true, verified := #{ok := true}}], backup_host:listed(Context)),
    ?assertEqual([], backup_host:mails()).

made_once(Config) ->
    Context = ?config(context, Config),
    Server = start(Context),
    backup_host:await(<<"completed">>),
    [#{timestamp := Made}] = backup_host:listed(Context),
    timer:sleep(1100),
    checked(Server),
    ?assertMatch([#{timestamp := Made}], backup_host:listed(Context)),
    %% Not after a restart either.
    gen_server:stop(Server),
    checked(start(Context)),
    ?assertMatch([#{timestamp := Made}], backup_host:listed(Context)).

missed_night(Config) ->
    Context = ?config(context, Config),
    _ = backup_host:backup(Context),
    backup_host:age(2 * ?A_DAY, Context),
    [#{timestamp := Old}] = backup_host:listed(Context),
    start(Context),
    backup_host:await(<<"completed">>),
    %% It has the name of its night, which may be another one than that of today.
    {ok, #{next := #{day := Next}}} = zbackup:due(backup_site:schedule(Context)),
    Night = calendar:gregorian_days_to_date(calendar:date_to_gregorian_days(Next) - 1),
    ?assertEqual(1, length([made || #{name := Name, timestamp := Made} <- backup_host:listed(Context),
                            Made > Old, Name =:= name_of(Night)])).

only_database(Config) ->
    Context = ?config(context, Config),
    backup_host:put_config(daily_dump, <<"2">>),
    backup_host:with_database(test_site:dump(""), ?config(dir, Config)),
    start(Context),
    backup_host:await(<<"completed">>),
    ?assertMatch([#{is_database_present := true, is_files_present := false}], backup_host:listed(Context)).

switched_off(Config) ->
    Context = ?config(context, Config),
    backup_host:put_config(daily_dump, <<"0">>),
    checked(start(Context)),
    ?assertEqual([], backup_host:listed(Context)).

without_proof(Config) ->
    Context = ?config(context, Config),
    backup_host:put_config(verify_after, <<"0">>),
    start(Context),
    backup_host:await(<<"completed">>),
    ?assertMatch([#{verified := undefined}], backup_host:listed(Context)).

tells_once(Config) ->
    Context = ?config(context, Config),
    backup_host:with_database("echo 'the disk of the database is on fire' >&2; exit 1\n", ?config(dir, Config)),
    Server1 = start(Context),
    backup_host:await(<<"error">>),
    [{admin, Subject}] = backup_host:mails(),
    ?assertNotEqual(nomatch, string:find(Subject, "testsite")),
    {ok, {#{failure := #{message := Message}}, []}} = m_backup:m_get([<<"status">>], undefined, Context),
    ?assertNotEqual(nomatch, string:find(Message, "on fire")),
    %% The next try fails as well, and the next start: somebody knows it already.
    gen_server:stop(Server1),
    Server2 = start(Context),
    backup_host:await(<<"error">>),
    ?assertEqual([], backup_host:mails()),
    gen_server:stop(Server2),
    backup_host:with_database(test_site:dump(""), ?config(dir, Config)),
    Server3 = start(Context),
    backup_host:await(<<"completed">>),
    ?assertMatch([{admin, _}], backup_host:mails()),
    ?assertMatch(#{failure := undefined, told := false}, backup_status:read(Context)),
    %% And that once, too.
    gen_server:stop(Server3),
    backup_host:age(2 * ?A_DAY, Context),
    start(Context),
    backup_host:await(<<"completed">>),
    ?assertEqual([], backup_host:mails()).

tells_whom(Config) ->
    Context = ?config(context, Config),
    backup_host:put_config(notify_email, <<"night@watch.test">>),
    backup_host:with_database("exit 1\n", ?config(dir, Config)),
    start(Context),
    backup_host:await(<<"error">>),
    ?assertMatch([{<<"night@watch.test">>, _}], backup_host:mails()).

by_hand_is_not_mailed(Config) ->
    Context = ?config(context, Config),
    backup_host:put_config(daily_dump, <<"0">>),
    backup_host:with_database("exit 1\n", ?config(dir, Config)),
    start(Context),
    backup_host:idle(Context),
    ok = mod_backup:start_backup(Context),
    backup_host:await(<<"error">>),
    ?assertEqual([], backup_host:mails()),
    ?assertMatch(#{failure := #{kind := <<"database">>}, told := false}, backup_status:read(Context)).

missing_is_told_once(Config) ->
    Context = ?config(context, Config),
    hours_ago(5, Context),
    ?assertMatch({backup, nightly, full, {_, _, _}}, check(4 * 3600, Context)),
    ?assertMatch([{admin, _}], backup_host:mails()),
    ?assertMatch({backup, nightly, full, _}, check(5 * 3600, Context)),
    ?assertEqual([], backup_host:mails()).

not_missing_yet(Config) ->
    Context = ?config(context, Config),
    hours_ago(5, Context),
    %% The node has just started, and will make it.
    ?assertMatch({backup, nightly, full, _}, check(60, Context)),
    hours_ago(1, Context),
    ?assertMatch({backup, nightly, full, _}, check(5 * ?A_DAY, Context)),
    ?assertEqual([], backup_host:mails()).

%% That one that is not proven takes the place of none is a matter of the native library.
failed_proof(Config) ->
    Context = ?config(context, Config),
    meck:expect(zbackup, backup, fun(#{prove := true}) ->
        {error, damaged, <<"the new backup could not be proven">>}
    end),
    start(Context),
    backup_host:await(<<"error">>),
    ?assertEqual([], backup_host:listed(Context)),
    ?assertMatch([{admin, _}], backup_host:mails()),
    ?assertMatch(#{failure := #{kind := <<"damaged">>}}, backup_status:read(Context)),
    ?assertMatch({backup, nightly, full, _}, check(60, Context)).

%% Backups of only the database keep the media files of their day, which are looked at as well.
damaged_media_of_before(Config) ->
    Context = ?config(context, Config),
    backup_host:with_database(test_site:dump(""), ?config(dir, Config)),
    gen_server:stop(start_and_await(<<"completed">>, Context)),
    [#{files_file := File, timestamp := First}] = backup_host:listed(Context),
    Path = filename:join(backup_site:dir(Context), File),
    {ok, <<Start:50/binary, Byte, Rest/binary>>} = file:read_file(Path),
    test_site:write(Path, <<Start/binary, (Byte bxor 1), Rest/binary>>),
    backup_host:age(2 * ?A_DAY, Context),
    backup_host:put_config(daily_dump, <<"2">>),
    start(Context),
    backup_host:await(<<"error">>),
    %% What is new is there all the same.
    [#{timestamp := Second, verified := #{ok := false, problem := Problem}}] = backup_host:listed(Context),
    ?assert(Second >= First),
    ?assertNotEqual(nomatch, string:find(Problem, File)),
    ?assertMatch([{admin, _}], backup_host:mails()),
    #{failure := #{message := Message}} = backup_status:read(Context),
    ?assertNotEqual(nomatch, string:find(Message, "media files")).

another_program(Config) ->
    Context = ?config(context, Config),
    meck:expect(zbackup, backup, fun(_) -> {error, in_progress, <<"by PID 1">>} end),
    start(Context),
    backup_host:await(<<"error">>),
    ?assertEqual([], backup_host:mails()),
    ?assertMatch(#{failure := undefined}, backup_status:read(Context)).

wrong_time(Config) ->
    Context = ?config(context, Config),
    backup_host:put_config(backup_time, <<"three">>),
    ?assertMatch({error, usage, _}, check(60, Context)),
    ?assertMatch([{admin, _}], backup_host:mails()),
    ?assertMatch({error, usage, _}, check(60, Context)),
    ?assertEqual([], backup_host:mails()).

waits_after_a_failure(Config) ->
    Context = ?config(context, Config),
    backup_host:with_database(["echo again >> $DIR/tries; exit 1\n"], ?config(dir, Config)),
    Server = start(Context),
    backup_host:await(<<"error">>),
    backup_host:idle(Context),
    checked(Server),
    {ok, Tries} = file:read_file(filename:join(?config(dir, Config), "tries")),
    ?assertEqual(<<"again\n">>, Tries).

mail_that_fails(Config) ->
    Context = ?config(context, Config),
    meck:new(z_email),
    meck:expect(z_email, send_admin, fun(_, _, _) -> error(no_mail_server) end),
    backup_host:with_database("exit 1\n", ?config(dir, Config)),
    start(Context),
    backup_host:await(<<"error">>),
    ?assertMatch(#{failure := #{kind := <<"database">>}, told := false}, backup_status:read(Context)),
    backup_host:idle(Context),
    hours_ago(5, Context),
    %% Nor by one that says that it could not.
    meck:expect(z_email, send_admin, fun(_, _, _) -> {error, no_recipient} end),
    _ = check(4 * 3600, Context),
    ?assertMatch(#{told := false}, backup_status:read(Context)),
    meck:expect(z_email, send_admin, fun(_, _, _) -> ok end),
    _ = check(4 * 3600, Context),
    ?assertMatch(#{told := true}, backup_status:read(Context)),
    meck:unload(z_email).

%% It is hours after its time, and it is a large site.
being_made_is_not_missing(Config) ->
    Context = ?config(context, Config),
    hours_ago(5, Context),
    ?assertMatch({backup, nightly, full, _}, check(4 * 3600, true, Context)),
    ?assertEqual([], backup_host:mails()),
    ?assertMatch(#{failure := undefined}, backup_status:read(Context)).

check_that_fails(Config) ->
    Context = ?config(context, Config),
    Self = self(),
    meck:expect(zbackup, due, fun(_) -> error(broken) end),
    ?assertMatch({error, internal, _}, check(60, Context)),
    ?assertMatch([{admin, _}], backup_host:mails()),
    ?assertMatch(#{failure := #{kind := <<"internal">>}, told := true}, backup_status:read(Context)),
    ok = backup_status:succeeded(nightly, Context),
    _ = backup_host:mails(),
    meck:expect(zbackup, due, fun(_) -> Self ! {checking, self()}, receive never -> ok end end),
    Failed = fun() -> maps:get(failure, backup_status:read(Context)) =/= undefined end,
    Server = start(Context),
    Killed = receive {checking, Pid1} -> Pid1 after 5000 -> error(never) end,
    exit(Killed, kill),
    test_site:until(Failed),
    ok = backup_status:succeeded(manual, Context),
    Server ! check,
    Hangs = receive {checking, Pid2} -> Pid2 after 5000 -> error(never) end,
    Server ! check,
    test_site:until(Failed),
    ?assertNot(is_process_alive(Hangs)),
    ?assertEqual(Server, whereis('mod_backup$testsite')).

%% Helpers

start(Context) ->
    {ok, Server} = mod_backup:start_link([{context, Context}]),
    Server.

start_and_await(Status, Context) ->
    Server = start(Context),
    backup_host:await(Status),
    Server.

%% The server has looked whether it is time, and has acted on it.
checked(Server) ->
    Idle = fun() ->
        {links, Links} = process_info(Server, links),
        [Pid || Pid <- Links, is_pid(Pid), Pid =/= self(), Pid =/= whereis('backup_copier$testsite')] =:= []
    end,
    test_site:until(Idle),
    Server ! check,
    _ = sys:get_state(Server),
    test_site:until(Idle),
    _ = sys:get_state(Server),
    test_site:until(Idle).

check(Up, Context) ->
    check(Up, false, Context).

check(Up, IsBeingMade, Context) ->
    Pid = backup_job:check(Up, IsBeingMade, Context),
    receive {checked, Pid, What} -> What after 20000 -> error(never_checked) end.

%% The night is due since some hours, and this node's clock is in UTC.
hours_ago(Hours, _Context) ->
    {_, {Hour, Minute, _}} = calendar:system_time_to_universal_time(
        erlang:system_time(second) - Hours * 3600, second),
    backup_host:put_config(timezone, <<"UTC">>),
    backup_host:put_config(backup_time, iolist_to_binary(io_lib:format("~2..0b:~2..0b", [Hour, Minute]))).

name_of(Day) ->
    case calendar:day_of_the_week(Day) of
        7 ->
            Sunday = calendar:date_to_gregorian_days(Day) - calendar:date_to_gregorian_days({1970, 1, 4}),
            <<"testsite-w", (integer_to_binary(Sunday div 7 rem 4 + 1))/binary>>;
        Weekday ->
            <<"testsite-", (integer_to_binary(Weekday + 1))/binary>>
    end.
