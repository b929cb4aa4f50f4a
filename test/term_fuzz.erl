%% @doc Requests at random: right ones in which something is replaced, added or missing. Whatever they are,
%% the answer is one of those that are promised, no password is told, no atom is made, and the node lives.
%%
%% What is right is started, and cancelled at once. All that it could write to is in one folder, and all that it
%% could connect to is a port where nobody listens.
-module(term_fuzz).

-export([main/1, run/3]).

%% More than there are atoms in all answers, far less than there are requests.
-define(WORDS, 300).
-define(SECRET, "hunter2-and-more").

%% @doc For a shell: so many seconds, in a folder that goes away.
-spec main(pos_integer()) -> no_return().
main(Seconds) ->
    Dir = string:trim(os:cmd("mktemp -d")),
    Seed = erlang:system_time(),
    {Status, Words} =
        try run(Dir, Seconds, Seed) of
            Count -> {0, io_lib:format("~-16s ~12b executions in ~b s~n", ["terms", Count, Seconds])}
        catch
            error:Problem -> {1, io_lib:format("terms, seed ~b: ~0tP~n", [Seed, Problem, 60])}
        end,
    io:format("~ts", [Words]),
    _ = file:del_dir_r(Dir),
    halt(Status).

%% @doc How many requests there were in so many seconds. Fails with the first that has a wrong answer.
-spec run(file:filename(), number(), integer()) -> non_neg_integer().
run(Dir, Seconds, Seed) ->
    _ = rand:seed(exsss, Seed),
    {ok, Before} = file:get_cwd(),
    ok = file:set_cwd(Dir),
    ok = filelib:ensure_dir(filename:join(Dir, "media/x")),
    ok = file:write_file(filename:join(Dir, "media/file"), "content"),
    ok = file:write_file(filename:join(Dir, "site.toml"), "site = \"a\"\nbackup_dir = \"backup\"\nmedia_dir = \"media\"\n"),
    %% Whatever is made by the first call is not made by a term.
    _ = [ok = promised(Name, right(Name, Dir), call(Name, right(Name, Dir))) || Name <- names()],
    Atoms = erlang:system_info(atom_count),
    Deadline = erlang:monotonic_time(millisecond) + round(Seconds * 1000),
    try
        loop(Dir, Deadline, 0, Atoms)
    after
        file:set_cwd(Before)
    end.

loop(Dir, Deadline, Count, Atoms) ->
    Name = pick(names()),
    Arguments = mutate(right(Name, Dir), rand:uniform(3)),
    ok = promised(Name, Arguments, call(Name, Arguments)),
    %% Words of answers are made when they are first said: there is an end to them.
    Made = erlang:system_info(atom_count) - Atoms,
    Made < ?WORDS orelse error({atoms_are_made, Made, Name, Arguments}),
    case erlang:monotonic_time(millisecond) < Deadline of
        true -> loop(Dir, Deadline, Count + 1, Atoms);
        false -> Count + 1
    end.

%% What is exported, with the number of arguments that says most.
names() ->
    [backup, verify, restore, settle, list, push, pull, list_offsite, relay, due, status, set_status, encrypt,
     decrypt, prune_revisions, diff, cancel].

%% As it would be right; of a site that has little, so that a job that is started has ended soon.
right(backup, Dir) -> [pick([site(Dir), #{config => path(Dir, "site.toml")}])];
right(verify, Dir) -> [site(Dir), ["a-1"], #{drill => false, record => true}];
right(restore, Dir) -> [site(Dir), "a-1", #{only => [files, database], timestamp => 1}];
right(push, Dir) -> [store(Dir), #{names => ["a-1"], only => [files]}];
right(pull, Dir) -> [store(Dir), #{names => [recent], require_encrypted => true}];
right(list_offsite, Dir) -> [store(Dir)];
right(relay, Dir) ->
    [store(Dir), #{step => pick([offer, publish, mark, wanted, take]), relay => path(Dir, "relay"), name => "a-1",
                   timestamp => 1, require_encrypted => true}];
right(due, Dir) -> [#{backup_dir => path(Dir, "backup"), at => "03:00", timezone => "UTC", with_files => true}];
right(set_status, Dir) -> [site(Dir), #{failed => #{at => 1, kind => io, message => <<"m">>}}];
right(Name, Dir) when Name =:= encrypt; Name =:= decrypt ->
    [path(Dir, "media/file"), path(Dir, "out"), ?SECRET, #{force => true}];
right(prune_revisions, _) ->
    [#{database => database(), revisions => #{revision_retention_months => 18, user_identity_types => ["x"]}},
     #{dry_run => true, now => 1}];
right(diff, _) -> [<<"one two">>, <<"one three">>];
right(cancel, _) -> [make_ref()];
right(_, Dir) -> [site(Dir)].

site(Dir) ->
    #{
        site => "a",
        backup_dir => path(Dir, "backup"),
        media_dir => path(Dir, "media"),
        config_files => [],
        timezone => "UTC",
        database => database(),
        encryption => #{password => ?SECRET},
        offsite => offsite(),
        revisions => #{user_revision_retention_days => 90},
        database_only => true,
        day => {2026, 1, 2},
        prove => false
    }.

store(Dir) ->
    #{backup_dir => path(Dir, "backup"), encryption => #{password => ?SECRET}, offsite => offsite()}.

database() ->
    #{user => "u", dbname => "d", host => "127.0.0.1", port => 1, password => ?SECRET, schema => "s",
      pg_dump => "/bin/false", psql => "/bin/false"}.

offsite() ->
    #{url => "s3://bucket/prefix", access_key_id => "k", secret_access_key => ?SECRET,
      endpoint => "http://127.0.0.1:1", region => "eu", timeout => 1, patience => 0}.

path(Dir, Name) -> filename:join(Dir, Name).

call(Name, Arguments) ->
    try apply(zbackup, Name, Arguments) of
        {ok, Job} when is_reference(Job) ->
            _ = zbackup:cancel(Job),
            {job, zbackup:await(Job)};
        Answer ->
            Answer
    catch
        Class:Reason:Stack -> {raised, Class, Reason, Stack}
    end.

promised(Name, Arguments, {job, Answer}) ->
    promised(Name, Arguments, Answer);
promised(_, _, ok) ->
    ok;
promised(_, _, {ok, _}) ->
    ok;
promised(Name, Arguments, {error, Kind, Message}) when is_atom(Kind), Kind =/= internal, is_binary(Message) ->
    case unicode:characters_to_list(Message) of
        Text when is_list(Text) ->
            case string:find(Text, ?SECRET) of
                nomatch -> ok;
                _ -> error({a_password_is_told, Name, Arguments, Message})
            end;
        _ ->
            error({no_text, Name, Arguments, Message})
    end;
promised(Name, Arguments, Other) ->
    error({not_promised, Name, Other, Arguments}).

mutate(Arguments, 0) ->
    Arguments;
mutate(Arguments, Times) ->
    {Before, [Argument | After]} = lists:split(rand:uniform(length(Arguments)) - 1, Arguments),
    mutate(Before ++ [change(Argument) | After], Times - 1).

%% Somewhere in it something is another.
change(Map) when is_map(Map), map_size(Map) > 0 ->
    Key = pick(maps:keys(Map)),
    case rand:uniform(10) of
        1 -> maps:remove(Key, Map);
        2 -> Map#{term(2) => term(2)};
        3 -> Map#{Key => undefined};
        4 when is_atom(Key) -> (maps:remove(Key, Map))#{atom_to_binary(Key) => maps:get(Key, Map)};
        _ -> Map#{Key => change(maps:get(Key, Map))}
    end;
change([_ | _] = List) when length(List) < 10 ->
    {Before, [Item | After]} = lists:split(rand:uniform(length(List)) - 1, List),
    case rand:uniform(8) of
        1 when length(List) > 3 -> Before ++ [term(2)];
        _ -> Before ++ [change(Item) | After]
    end;
change(_) ->
    term(4).

%% Anything. No path but such as are in the folder that we are in.
term(Depth) ->
    case rand:uniform(case Depth of 0 -> 17; _ -> 24 end) of
        1 -> pick([true, false, undefined, null, nil, files, recent, '', 'a b', infinity]);
        2 -> rand:uniform(10) - 5;
        3 -> pick([0, -1, 65536, 1 bsl 31, 1 bsl 32, 1 bsl 63, -(1 bsl 63), 1 bsl 64, 1 bsl 200, -(1 bsl 200)]);
        4 -> pick([0.0, -0.0, 1.5, 1.0e300, -1.0e-300]);
        5 -> no_slash(rand:bytes(rand:uniform(20)));
        6 -> <<5:3>>;
        7 -> <<>>;
        8 -> binary_to_list(no_slash(rand:bytes(rand:uniform(20))));
        9 -> [16#d800, 16#10ffff, -1];
        10 -> [a | b];
        11 -> "a\0b";
        12 -> <<"a\nb">>;
        13 -> pick([self(), make_ref(), fun() -> ok end, fun erlang:halt/0]);
        14 -> binary:copy(<<"long">>, rand:uniform(20000));
        15 -> lists:seq(1, rand:uniform(2000));
        16 -> <<"ü☃"/utf8>>;
        17 -> pick([{2023, 2, 29}, {0, 0, 0}, {2026, 1, 2}, {-1, 1 bsl 70, a}, {9999, 12, 31}, {10000, 1, 1}]);
        18 -> list_to_tuple([term(Depth - 1) || _ <- lists:seq(1, rand:uniform(4))]);
        19 -> [term(Depth - 1) || _ <- lists:seq(1, rand:uniform(4))];
        20 -> [term(Depth - 1) | term(Depth - 1)];
        21 -> #{term(Depth - 1) => term(Depth - 1)};
        22 -> #{site => term(Depth - 1), user => term(Depth - 1), password => ?SECRET};
        23 -> deep(rand:uniform(100000), 0, pick([list, map, tuple]));
        24 -> maps:from_list([{integer_to_binary(N), N} || N <- lists:seq(1, rand:uniform(200))])
    end.

deep(0, Term, _) -> Term;
deep(Depth, Term, list) -> deep(Depth - 1, [Term], list);
deep(Depth, Term, map) -> deep(Depth - 1, #{site => Term}, map);
deep(Depth, Term, tuple) -> deep(Depth - 1, {Term}, tuple).

no_slash(Bytes) -> binary:replace(Bytes, <<"/">>, <<"-">>, [global]).

pick(List) -> lists:nth(rand:uniform(length(List)), List).
