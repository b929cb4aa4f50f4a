%% @doc Copies to and from a file store that only Zotonic can speak to, played by a folder.
-module(backup_filestore_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").
-include_lib("zotonic_core/include/zotonic_file.hrl").

-export([all/0, suite/0, init_per_testcase/2, end_per_testcase/2]).
-export([there_and_back/1, data_before_the_list/1, replaced_files_go/1, others_keep_theirs/1, newer_ones_stay/1,
         damaged_list_is_kept/1, store_in_trouble/1, only_what_is_new/1, swapped_file/1, hostile_list/1, longer_file/1,
         damaged_here/1, no_room/1, no_room_for_all/1, by_the_server/1, options_are_checked/1]).

suite() ->
    [{timetrap, {minutes, 1}}].

all() ->
    [Name || {Name, 1} <- ?MODULE:module_info(exports), Name =/= module_info].

init_per_testcase(Name, Config) ->
    Dir = test_site:dir(Name, Config),
    Store = filename:join(Dir, "store"),
    Context = backup_host:start(filename:join(Dir, "here")),
    host:set(observer, store(Store)),
    [{store, Store}, {context, Context}, {other, host:context(testsite, filename:join(Dir, "there"))} | Config].

end_per_testcase(_, _) ->
    backup_host:stop().

there_and_back(Config) ->
    {Context, Other} = {?config(context, Config), ?config(other, Config)},
    #{name := Name, timestamp := Time} = backup(Context),
    ?assertMatch({ok, #{uploaded := [#{name := Name, timestamp := Time, bytes := Bytes}], already := [], removed := [],
                        problems := [], warnings := []}} when Bytes > 50000, push(Context)),
    ?assertMatch([#{is_filestore_uploaded := true}], listed(Context)),
    ?assertEqual(files(backup_site:dir(Context)), files(?config(store, Config))),
    ?assertMatch({ok, #{uploaded := [], already := [Name]}}, push(Context)),
    ?assertMatch(
        {ok, #{
            pulled := [#{name := Name, timestamp := Time, is_proven := true}],
            problems := [],
            newest := #{name := Name, timestamp := Time, is_proven := true, is_new := true}
        }},
        pull(Other)
    ),
    ?assertEqual(files(backup_site:dir(Context)), files(backup_site:dir(Other))),
    ?assertMatch({ok, #{pulled := [], already := [Name], newest := #{name := Name, is_new := false}}}, pull(Other)).

data_before_the_list(Config) ->
    Context = ?config(context, Config),
    Old = backup(#{day => {2026, 11, 20}}, Context),
    timer:sleep(1100),
    New = backup(#{day => {2026, 11, 21}}, Context),
    ok = host:set(requests, []),
    {ok, #{uploaded := [_, _]}} = push(Context),
    Sent = [Remote || {upload, Remote} <- lists:reverse(host:get(requests, []))],
    List = <<"backup/backup.json">>,
    Files = fun(#{config := #{file := Packed}, files := #{file := Media}}) ->
        [<<"backup/", Packed/binary>>, <<"backup/", Media/binary>>]
    end,
    ?assertEqual(Files(New) ++ [List] ++ Files(Old) ++ [List], Sent).

replaced_files_go(Config) ->
    Context = ?config(context, Config),
    #{files := #{file := File}} = backup(Context),
    {ok, _} = push(Context),
    timer:sleep(1100),
    _ = backup(#{media_dir => undefined}, Context),
    ?assertMatch({ok, #{removed := [File]}}, push(Context)),
    ?assertNot(maps:is_key(binary_to_list(File), files(?config(store, Config)))),
    %% After the new list is up.
    [{delete, _}, {upload, <<"backup/backup.json">>} | _] = host:get(requests, []).

%% The list of the store is changed by what is new, and not replaced by what is here.
others_keep_theirs(Config) ->
    {Context, Other} = {?config(context, Config), ?config(other, Config)},
    _ = backup(Context),
    {ok, _} = push(Context),
    {ok, Job} = zbackup:backup(#{site => "another", backup_dir => backup_site:dir(Other),
                                 config_files => [filename:join(?config(store, Config), "backup.json")]}),
    {ok, _} = zbackup:await(Job),
    {ok, #{uploaded := [_]}} = push(Other),
    {ok, #{backups := Backups}} = zbackup:list(#{backup_dir => ?config(store, Config)}),
    ?assertMatch([_, _], Backups).

newer_ones_stay(Config) ->
    {Context, Other} = {?config(context, Config), ?config(other, Config)},
    #{name := Name} = backup(Context),
    timer:sleep(1100),
    {ok, Job} = zbackup:backup(#{site => "testsite", backup_dir => backup_site:dir(Other), timezone => "UTC",
                                 config_files => [hd(host:get(config_files, []))]}),
    {ok, #{backup := #{name := Name}}} = zbackup:await(Job),
    {ok, _} = push(Other),
    Before = files(?config(store, Config)),
    ?assertMatch({ok, #{uploaded := [], problems := [#{name := Name, kind := exists}]}}, push(Context)),
    ?assertEqual(Before, files(?config(store, Config))).

damaged_list_is_kept(Config) ->
    Context = ?config(context, Config),
    _ = backup(Context),
    test_site:write(filename:join(?config(store, Config), "backup.json"), "no list"),
    ?assertMatch({error, damaged, _}, pull(?config(other, Config))),
    {ok, #{uploaded := [_], warnings := [_]}} = push(Context),
    [Aside] = filelib:wildcard("backup.json.damaged-*", ?config(store, Config)),
    ?assertEqual({ok, <<"no list">>}, file:read_file(filename:join(?config(store, Config), Aside))),
    ?assertMatch({ok, #{pulled := [_]}}, pull(?config(other, Config))).

%% At each of its requests: the next push makes it good, and what is in the list is whole.
store_in_trouble(Config) ->
    {Context, Other} = {?config(context, Config), ?config(other, Config)},
    Store = store(?config(store, Config)),
    _ = backup(Context),
    Before = files(backup_site:dir(Context)),
    Failed = [
        begin
            host:set(observer, fun(Request, On) ->
                case counted() of
                    Nth -> case Nth rem 2 of 0 -> {error, 503}; 1 -> error({secret, "hush"}) end;
                    _ -> Store(Request, On)
                end
            end),
            ok = host:set(count, 0),
            Result = push(Context),
            ?assertEqual(nomatch, string:find(io_lib:format("~p", [Result]), "hush")),
            ok = host:set(observer, Store),
            case pull(Other) of
                {ok, #{problems := Problems}} -> ?assertEqual([], Problems);
                {error, _, _} = Error -> error(Error)
            end,
            element(1, Result)
        end
     || Nth <- lists:seq(1, 6)
    ],
    ?assertMatch([error, error, error, error, error | _], Failed),
    {ok, #{problems := []}} = push(Context),
    ?assertEqual(maps:remove("backup.json", Before), maps:remove("backup.json", files(backup_site:dir(Context)))),
    ?assertEqual(files(backup_site:dir(Context)), files(?config(store, Config))).

counted() ->
    Count = host:get(count, 0) + 1,
    ok = host:set(count, Count),
    Count.

only_what_is_new(Config) ->
    {Context, Other} = {?config(context, Config), ?config(other, Config)},
    #{files := #{file := File}} = backup(#{day => {2026, 11, 20}}, Context),
    {ok, _} = push(Context),
    {ok, #{pulled := [_]}} = pull(Other),
    timer:sleep(1100),
    #{name := New} = backup(#{day => {2026, 11, 21}}, Context),
    {ok, _} = push(Context),
    ok = file:delete(filename:join(backup_site:dir(Other), File)),
    ok = host:set(requests, []),
    {ok, #{pulled := [#{name := New}, _], newest := #{name := New}}} = pull(Other),
    Fetched = [Remote || {download, Remote} <- host:get(requests, [])],
    %% The list, both files of the new one, and the one that is missing.
    ?assertEqual(4, length(Fetched)),
    Files = fun(On) -> maps:remove("backup.json", files(backup_site:dir(On))) end,
    ?assertEqual(Files(Context), Files(Other)).

%% An older one of another night.
swapped_file(Config) ->
    {Context, Other} = {?config(context, Config), ?config(other, Config)},
    #{files := #{file := File}} = backup(Context),
    {ok, Old} = file:read_file(filename:join(backup_site:dir(Context), File)),
    timer:sleep(1100),
    test_site:write(filename:join(z_path:media_archive(Context), "new"), "new"),
    #{name := Name} = backup(Context),
    {ok, _} = push(Context),
    test_site:write(filename:join(?config(store, Config), File), Old),
    ?assertMatch({ok, #{pulled := [], newest := undefined, problems := [#{name := Name, kind := damaged}]}}, pull(Other)),
    ?assertEqual(#{}, maps:remove("backup.json", files(backup_site:dir(Other)))).

hostile_list(Config) ->
    Other = ?config(other, Config),
    List = [
        "{\"testsite-3\": {\"timestamp\": 1700000000, \"files\": \"../../evil.tar.gz\"},",
        " \"testsite-4\": {\"timestamp\": 1700000001, \"files\": \"testsite-5.tar.gz\"},",
        " \"testsite-6\": {\"timestamp\": 9999999999, \"files\": \"testsite-6.tar.gz\"}}"
    ],
    test_site:write(filename:join(?config(store, Config), "backup.json"), List),
    test_site:write(filename:join(?config(store, Config), "testsite-6.tar.gz"), "x"),
    ok = host:set(requests, []),
    {ok, #{pulled := [], newest := undefined, problems := Problems}} = pull(Other),
    ?assertMatch([_, _, _], Problems),
    ?assertEqual([{download, <<"backup/backup.json">>}], host:get(requests, [])),
    %% Far more than a site can have.
    Many = [["\"a", integer_to_list(Nr), "\":{}"] || Nr <- lists:seq(1, 1001)],
    test_site:write(filename:join(?config(store, Config), "backup.json"), ["{", lists:join(",", Many), "}"]),
    {error, damaged, Message} = pull(Other),
    ?assertNotEqual(nomatch, string:find(Message, "far too long")).

%% One that would fill the disk.
longer_file(Config) ->
    {Context, Other} = {?config(context, Config), ?config(other, Config)},
    #{name := Good} = backup(#{day => {2026, 11, 20}}, Context),
    timer:sleep(1100),
    #{name := Bad, files := #{file := File}} = backup(#{day => {2026, 11, 21}}, Context),
    {ok, _} = push(Context),
    Store = store(?config(store, Config)),
    Remote = <<"backup/", File/binary>>,
    Self = self(),
    host:set(observer, fun
        (#filestore_request{action = download, remote = To, local = Path}, _) when To =:= Remote ->
            {ok, Fd} = file:open(Path, [write, raw]),
            Self ! {endless, self()},
            endless(Fd);
        (Request, On) ->
            Store(Request, On)
    end),
    %% What is wrong with one does not keep the others from coming.
    {ok, #{problems := [#{name := Bad, kind := damaged, reason := Message}], pulled := [#{name := Good}],
           newest := #{name := Good}}} = pull(Other),
    ?assertNotEqual(nomatch, string:find(Message, "more comes")),
    Pid = receive {endless, P} -> P end,
    test_site:until(fun() -> not is_process_alive(Pid) end),
    ?assertEqual([], [Name || Name <- maps:keys(files(backup_site:dir(Other))), string:find(Name, Bad) =/= nomatch]),
    %% The list as well.
    host:set(observer, fun(#filestore_request{local = Path}, _) ->
        {ok, Fd} = file:open(Path, [write, raw]),
        endless(Fd)
    end),
    ?assertMatch({error, damaged, _}, pull(Other)).

endless(Fd) ->
    ok = file:write(Fd, binary:copy(<<0>>, 1000000)),
    receive after 10 -> endless(Fd) end.

%% The disk is not filled to see that it is full: the database of the site is there too.
no_room(Config) ->
    {Context, Other} = {?config(context, Config), ?config(other, Config)},
    #{name := Small} = backup(#{day => {2026, 11, 20}}, Context),
    timer:sleep(1100),
    test_site:write(filename:join(z_path:media_archive(Context), "new"), crypto:strong_rand_bytes(1000)),
    #{name := Large, files := #{file := File, size := Size}} = backup(#{day => {2026, 11, 21}}, Context),
    {ok, _} = push(Context),
    List = filename:join(?config(store, Config), "backup.json"),
    {ok, Text} = file:read_file(List),
    Long = binary:replace(Text, integer_to_binary(Size), <<"100000000000000000">>, [global]),
    ?assertNotEqual(Text, Long),
    test_site:write(List, Long),
    ok = host:set(requests, []),
    {ok, #{pulled := Pulled, problems := [#{name := Large, kind := no_space}]}} = pull(Other),
    ?assertEqual([Small], [Name || #{name := Name} <- Pulled]),
    ?assertNot(lists:member({download, <<"backup/", File/binary>>}, host:get(requests, []))),
    %% Where the list does not say how long a file is, the room is what counts.
    silent(100),
    test_site:write(List, Text),
    {ok, #{pulled := [], problems := [#{name := Large, kind := no_space}]}} = pull(Other),
    meck:unload().

%% Many files without a length do not each get all of the room. What was not taken gives it back.
no_room_for_all(Config) ->
    {Context, Other} = {?config(context, Config), ?config(other, Config)},
    Names = [
        begin
            #{name := Name, files := #{file := File}} = backup(#{day => {2026, 11, Day}}, Context),
            timer:sleep(1100),
            {Name, File}
        end
     || Day <- [20, 21, 22]
    ],
    [{First, _}, {Second, _}, {Third, Swapped}] = Names,
    {ok, _} = push(Context),
    %% Shorter than the two of them, and longer than one; the newest is not what the list says.
    There = filename:join(?config(store, Config), Swapped),
    test_site:write(There, crypto:strong_rand_bytes(filelib:file_size(There))),
    silent(filelib:file_size(There) * 3 div 2),
    {ok, #{pulled := [#{name := Second}], problems := Problems}} = pull(Other),
    ?assertMatch([{First, no_space}, {Third, damaged}],
                 lists:sort([{Name, Kind} || #{name := Name, kind := Kind} <- Problems])),
    meck:unload().

%% The list does not say how long the files are, and there is this room.
silent(Room) ->
    meck:new(zbackup, [passthrough, no_link]),
    meck:expect(zbackup, relay, fun(Site, Options) ->
        {ok, Job} = meck:passthrough([Site, Options]),
        {ok, {Job, Options}}
    end),
    meck:expect(zbackup, await, fun({Job, #{step := Step}}) ->
        case meck:passthrough([Job]) of
            {ok, #{loads := Loads} = Plan} when Step =:= wanted ->
                Silent = [Load#{files := [Part#{size := undefined} || Part <- Files]} || #{files := Files} = Load <- Loads],
                {ok, Plan#{loads := Silent, room := Room}};
            Result ->
                Result
        end
    end).

damaged_here(Config) ->
    Context = ?config(context, Config),
    #{name := Bad, files := #{file := File}} = backup(#{day => {2026, 11, 20}}, Context),
    #{name := Good} = backup(#{day => {2026, 11, 21}}, Context),
    test_site:write(filename:join(backup_site:dir(Context), File), "something else"),
    ?assertMatch({ok, #{uploaded := [#{name := Good}], problems := [#{name := Bad, kind := damaged}]}}, push(Context)).

by_the_server(Config) ->
    Context = ?config(context, Config),
    Store = store(?config(store, Config)),
    Credentials = #filestore_credentials{service = <<"ftp">>, service_url = <<"ftps://host">>,
                                         location = <<"ftps://host/backup/backup.json">>, credentials = #{}},
    host:set(observer, fun
        (#filestore_credentials_lookup{}, _) -> {ok, Credentials};
        (Request, On) -> Store(Request, On)
    end),
    backup_host:put_config(daily_dump, <<"0">>),
    _ = backup_host:server(Context),
    ok = mod_backup:start_backup(Context),
    backup_host:await(<<"uploaded">>),
    test_site:until(fun() -> not mod_backup:is_uploading(Context) end),
    ?assertMatch([#{is_filestore_uploaded := true}], mod_backup:list_backups(Context)),
    ?assertEqual([], mod_backup:failures(Context)),
    ?assertEqual([], filelib:wildcard("backup.json.filestore", binary_to_list(backup_site:dir(Context)))).

options_are_checked(Config) ->
    Site = #{backup_dir => backup_site:dir(?config(context, Config))},
    Relay = ?config(store, Config),
    _ = [
        ?assertMatch({error, usage, _}, case zbackup:relay(Site, Options) of {ok, Job} -> zbackup:await(Job); E -> E end)
     || Options <- [#{}, #{step => odd, relay => Relay}, #{step => offer}, #{step => take, relay => Relay, odd => 1}, [],
                    #{step => wanted, relay => Relay, require_encrypted => 1}]
    ],
    ?assertMatch({error, usage, _}, zbackup:relay(odd, #{step => offer, relay => Relay})).

%% Helpers

%% An observer of requests, as that of mod_filestore.
store(Store) ->
    fun
    (#filestore_credentials_lookup{}, _Context) ->
        undefined;
    (#filestore_request{action = Action, remote = <<"backup/", Name/binary>> = Remote, local = Local}, _Context) ->
        ok = host:set(requests, [{Action, Remote} | host:get(requests, [])]),
        There = filename:join(Store, Name),
        case Action of
            upload ->
                ok = filelib:ensure_dir(There),
                {ok, _} = file:copy(Local, There),
                ok;
            download ->
                case file:copy(There, Local) of
                    {ok, _} -> ok;
                    {error, _} = Error -> Error
                end;
            delete ->
                file:delete(There)
        end
    end.

%% What differs is told without the bytes of it.
files(Dir) ->
    maps:map(
        fun
            ("backup.json", List) -> List;
            (_, Bytes) -> binary:encode_hex(crypto:hash(sha256, Bytes))
        end,
        test_site:files(Dir)
    ).

backup(Context) -> backup(#{}, Context).

backup(More, Context) -> backup_host:backup(More, Context).

push(Context) -> backup_filestore:push(self(), Context).

pull(Context) -> backup_filestore:pull(#{require_encrypted => false}, self(), Context).

listed(Context) ->
    {ok, #{backups := Backups}} = zbackup:list(#{backup_dir => backup_site:dir(Context)}),
    Backups.
