%% @doc What comes back of a page from the revision log, on a real database: connections, dependent pages and media; and what cannot.
-module(backup_recovery_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").
-include_lib("zotonic_core/include/zotonic.hrl").

-export([all/0, suite/0, init_per_suite/1, end_per_suite/1, init_per_testcase/2, end_per_testcase/2]).
-export([
    directions/1, connections_of_the_past/1, told_late/1, order_of_connections/1, another_predicate/1,
    renamed_predicate/1, dependents/1, dependents_of_each_other/1, dependents_of_an_editor/1,
    partly_impossible/1, nothing_is_left_of_a_refusal/1, users_who_are_gone/1, categories/1,
    medium_that_fails/1, owner_stays/1, revision_of_another_page/1, media_in_one_second/1, upload_of_a_medium/1,
    medium_before_the_log/1, medium_without_its_file/1
]).
-import(revision_site, [edges/2, insert/2, later/1, newest/2, revert/3, update/3]).

suite() ->
    [{timetrap, {minutes, 10}}].

all() ->
    [Name || {Name, 1} <- ?MODULE:module_info(exports),
             not lists:member(Name, [module_info, init_per_suite, end_per_suite])].

init_per_suite(Config) ->
    revision_site:needs_postgres(Config).

end_per_suite(_Config) ->
    ok.

init_per_testcase(Name, Config) ->
    revision_site:start_with_log(Name, Config).

end_per_testcase(_Name, _Config) ->
    revision_site:stop().

%% Connections

directions(Config) ->
    Context = ?config(context, Config),
    [In, Id, Out] = [insert(#{}, Context) || _ <- "123"],
    ok = later(Context),
    {ok, _} = m_edge:insert(Id, <<"relation">>, Out, Context),
    {ok, _} = m_edge:insert(In, <<"relation">>, Id, Context),
    ok = update(Id, #{<<"title">> => <<"connected">>}, Context),
    Revision = newest(Id, Context),
    ok = later(Context),
    lists:foreach(
        fun({Options, Wanted}) ->
            ok = m_edge:delete(Id, <<"relation">>, Out, Context),
            ok = m_edge:delete(In, <<"relation">>, Id, Context),
            ok = later(Context),
            {ok, []} = m_backup_revision:revert(Id, Revision, Options, Context),
            ?assertEqual(Wanted, edges(Id, Context)),
            ok = later(Context)
        end,
        [
            {[], []},
            {[outgoing_edges], [{Id, <<"relation">>, Out}]},
            {[incoming_edges], [{In, <<"relation">>, Id}]},
            {[incoming_edges, outgoing_edges], lists:sort([{In, <<"relation">>, Id}, {Id, <<"relation">>, Out}])}
        ]
    ).

connections_of_the_past(Config) ->
    Context = ?config(context, Config),
    [Id, A, B] = [insert(#{}, Context) || _ <- "123"],
    ok = later(Context),
    {ok, _} = m_edge:insert(Id, <<"relation">>, A, Context),
    ok = update(Id, #{<<"title">> => <<"with a">>}, Context),
    Revision = newest(Id, Context),
    ok = later(Context),
    ok = m_edge:delete(Id, <<"relation">>, A, Context),
    {ok, _} = m_edge:insert(Id, <<"relation">>, B, Context),
    ok = m_edge:tell(10, Context),
    {ok, []} = revert(Id, Revision, Context),
    ?assertEqual([{Id, <<"relation">>, A}], edges(Id, Context)).

%% Zotonic tells of a connection minutes after it was made: the time that counts is when it was.
told_late(Config) ->
    Context = ?config(context, Config),
    [Id, A] = [insert(#{}, Context) || _ <- "12"],
    {ok, _} = m_edge:insert(Id, <<"relation">>, A, Context),
    ok = later(Context),
    ok = update(Id, #{<<"title">> => <<"with a">>}, Context),
    ok = later(Context),
    ok = m_edge:tell(10, Context),
    {ok, []} = revert(Id, newest(Id, Context), Context),
    ?assertEqual([{Id, <<"relation">>, A}], edges(Id, Context)).

%% A page that comes back has its connections in the order in which it had them.
order_of_connections(Config) ->
    Context = ?config(context, Config),
    [Id, A, B, C] = [insert(#{}, Context) || _ <- "1234"],
    [{ok, _} = m_edge:insert(Id, <<"relation">>, To, Context) || To <- [A, B, C]],
    [1 = z_db:q("update edge set seq = $2 where object_id = $1", [To, At], Context) || {To, At} <- [{C, 1}, {A, 2}, {B, 3}]],
    ok = later(Context),
    Order = fun() -> z_db:q("select object_id from edge where subject_id = $1 order by seq, id", [Id], Context) end,
    lists:foreach(
        fun(Told) ->
            ok = m_rsc:delete(Id, Context),
            ok = m_edge:tell(Told, Context),
            ok = later(Context),
            {ok, []} = revert(Id, newest(Id, Context), Context),
            ?assertEqual([{C}, {A}, {B}], Order()),
            ok = later(Context)
        end,
        [1, 1000]
    ).

%% Zotonic moves a connection to another predicate in place, and tells nothing of the one that it had.
another_predicate(Config) ->
    Context = ?config(context, Config),
    [Id, A] = [insert(#{}, Context) || _ <- "12"],
    {ok, _} = m_edge:insert(Id, <<"relation">>, A, Context),
    ok = m_edge:tell(10, Context),
    ok = later(Context),
    ok = update(Id, #{<<"title">> => <<"related">>}, Context),
    Revision = newest(Id, Context),
    ok = later(Context),
    1 = z_db:q("update edge set predicate_id = (select id from rsc where name = 'author')", Context),
    1 = z_db:q("update edge set seq = 7", Context),
    ok = m_edge:tell(10, Context),
    ?assertEqual([{Id, <<"author">>, A}], edges(Id, Context)),
    {ok, []} = revert(Id, Revision, Context),
    ?assertEqual([{Id, <<"relation">>, A}], edges(Id, Context)).

%% What was connected by it has its new name, and goes all the same.
renamed_predicate(Config) ->
    Context = ?config(context, Config),
    [Id, A, B] = [insert(#{}, Context) || _ <- "123"],
    Revision = newest(Id, Context),
    ok = later(Context),
    {ok, _} = m_edge:insert(Id, <<"relation">>, A, Context),
    ok = m_edge:tell(10, Context),
    %% And one of which Zotonic has not told yet.
    {ok, _} = m_edge:insert(Id, <<"relation">>, B, Context),
    1 = z_db:q("update rsc set name = 'kinship' where name = 'relation'", Context),
    host:set(predicates, [<<"kinship">>, <<"author">>]),
    ?assertEqual([{Id, <<"kinship">>, A}, {Id, <<"kinship">>, B}], edges(Id, Context)),
    {ok, []} = revert(Id, Revision, Context),
    ?assertEqual([], edges(Id, Context)).

dependents(Config) ->
    Context = ?config(context, Config),
    Id = insert(#{}, Context),
    Dependent = insert(#{<<"is_dependent">> => true, <<"title">> => <<"first">>}, Context),
    Other = insert(#{}, Context),
    [{ok, _} = m_edge:insert(Id, <<"relation">>, To, Context) || To <- [Dependent, Other]],
    {ok, _} = m_edge:insert(Dependent, <<"author">>, 9, Context),
    ok = later(Context),
    ok = update(Dependent, #{<<"title">> => <<"newest">>}, Context),
    ok = later(Context),
    ok = m_rsc:delete(Id, Context),
    ok = later(Context),
    ok = m_rsc:delete(Dependent, Context),
    ok = m_rsc:delete(Other, Context),
    ok = later(Context),
    Gone = [{edge, gone, {Id, <<"relation">>, To}} || To <- [Dependent, Other]],
    {ok, Problems} = m_backup_revision:revert(Id, newest(Id, Context), [outgoing_edges], Context),
    ?assertEqual(Gone, lists:sort(Problems)),
    ?assertNot(m_rsc:exists(Dependent, Context)),
    ok = later(Context),
    ok = m_rsc:delete(Id, Context),
    ok = later(Context),
    ok = m_edge:tell(100, Context),
    %% When it was just connected.
    Revision = insert_deleted(Id, Context),
    {ok, [{edge, gone, {Id, _, Other}}]} = revert(Id, Revision, Context),
    ?assertEqual(<<"newest">>, m_rsc:p(Dependent, <<"title">>, Context)),
    ?assertEqual([{Id, <<"relation">>, Dependent}], edges(Id, Context)),
    ?assertEqual(lists:sort([{Id, <<"relation">>, Dependent}, {Dependent, <<"author">>, 9}]), edges(Dependent, Context)).

%% A revision of a page at the time when it was last saved and everything was there.
insert_deleted(Id, Context) ->
    {ok, #{<<"data">> := Props}} = m_backup_revision:newest_revision(Id, Context),
    z_db:q1(
        "insert into backup_revision (rsc_id, type, version, data_type, data, created)
         select $1::int, 'P', 99, 'erlang', $2::bytea, min(timestamp) + interval '1 second'
         from backup_edge_log where subject_id = $1 or object_id = $1 returning id",
        [Id, term_to_binary(Props)], Context).

dependents_of_each_other(Config) ->
    Context = ?config(context, Config),
    Id = insert(#{}, Context),
    [A, B] = [insert(#{<<"is_dependent">> => true}, Context) || _ <- "12"],
    [{ok, _} = m_edge:insert(From, <<"relation">>, To, Context)
     || {From, To} <- [{Id, A}, {A, B}, {B, A}, {B, Id}, {A, A}]],
    ok = m_edge:tell(10, Context),
    ok = later(Context),
    Edges = lists:usort(lists:append([edges(Page, Context) || Page <- [Id, A, B]])),
    ok = m_rsc:delete(Id, Context),
    ok = later(Context),
    ok = m_rsc:delete(A, Context),
    ok = later(Context),
    ok = m_rsc:delete(B, Context),
    ok = later(Context),
    {ok, []} = revert(Id, newest(Id, Context), Context),
    ?assertEqual(Edges, lists:usort(lists:append([edges(Page, Context) || Page <- [Id, A, B]]))).

%% Who may edit a page gets back what belongs to it, when the user may have such pages.
dependents_of_an_editor(Config) ->
    Context = ?config(context, Config),
    Id = insert(#{}, Context),
    [A, B] = [insert(#{<<"is_dependent">> => true}, Context) || _ <- "12"],
    [{ok, _} = m_edge:insert(Id, <<"relation">>, To, Context) || To <- [A, B]],
    ok = m_edge:tell(10, Context),
    ok = later(Context),
    ok = update(Id, #{<<"title">> => <<"connected">>}, Context),
    Revision = newest(Id, Context),
    ok = later(Context),
    [ok = m_rsc:delete(Page, Context) || Page <- [A, B]],
    {ok, Problems} = revert(Id, Revision, host:user([mod_admin, {edit, Id}, {edit, A}], Context)),
    ?assertEqual([{dependent, B, eacces}, {edge, gone, {Id, <<"relation">>, B}}], lists:sort(Problems)),
    ?assertEqual([{Id, <<"relation">>, A}], edges(Id, Context)),
    %% Of a predicate that is gone nothing comes back.
    ok = later(Context),
    ok = m_rsc:delete(A, Context),
    host:set(predicates, []),
    {ok, _} = revert(Id, Revision, Context),
    ?assertNot(m_rsc:exists(A, Context)).

%% What is impossible

partly_impossible(Config) ->
    Context = ?config(context, Config),
    [Id, A, B] = [insert(#{<<"title">> => <<"t">>}, Context) || _ <- "123"],
    ok = update(Id, #{<<"name">> => <<"the_one">>, <<"category_id">> => 3}, Context),
    {ok, _} = m_edge:insert(Id, <<"relation">>, A, Context),
    {ok, _} = m_edge:insert(Id, <<"author">>, B, Context),
    {ok, _} = m_edge:insert(Id, <<"relation">>, B, Context),
    ok = m_media:insert(Id, <<"digest">>, Context),
    ok = later(Context),
    ok = m_rsc:delete(Id, Context),
    ok = later(Context),
    ok = m_rsc:delete(A, Context),
    ok = update(B, #{<<"name">> => <<"the_one">>}, Context),
    host:set(predicates, [<<"relation">>]),
    host:set(is_file_gone, fun(_) -> true end),
    {ok, Problems} = revert(Id, newest(Id, Context), Context),
    ?assertEqual(
        lists:sort([
            {property, <<"name">>},
            {medium, file_gone},
            {edge, gone, {Id, <<"relation">>, A}},
            {edge, predicate, {Id, <<"author">>, B}}
        ]),
        lists:sort(Problems)
    ),
    ?assertEqual(<<"t">>, m_rsc:p(Id, <<"title">>, Context)),
    ?assertEqual([{Id, <<"relation">>, B}], edges(Id, Context)),
    [?assert(is_binary(backup_revision_text:problem(Problem, Context))) || Problem <- Problems].

nothing_is_left_of_a_refusal(Config) ->
    Context = ?config(context, Config),
    Id = insert(#{}, Context),
    ok = m_rsc:delete(Id, Context),
    Revision = newest(Id, Context),
    %% May recover, but may not have such a page.
    ?assertEqual({error, eacces}, revert(Id, Revision, host:user([mod_backup], Context))),
    ?assertNot(m_rsc:exists(Id, Context)),
    ?assertEqual({error, eacces}, revert(Id, Revision, host:user([], Context))),
    ?assertMatch(#search_result{total = 1}, m_backup_revision:list_deleted({1, 10}, Context)),
    %% Whatever goes wrong in Zotonic.
    host:set(is_crash, true),
    ?assertEqual({error, failed}, revert(Id, Revision, Context)),
    ?assertNot(m_rsc:exists(Id, Context)),
    host:set(is_crash, false),
    ?assertEqual({ok, []}, revert(Id, Revision, Context)).

%% The database takes nobody who is not there.
users_who_are_gone(Config) ->
    Context = ?config(context, Config),
    [Maker, Editor] = [insert(#{}, Context) || _ <- "12"],
    host:set(user, Maker),
    Id = insert(#{<<"title">> => <<"a">>}, Context),
    Revision = newest(Id, Context),
    host:set(user, Editor),
    ok = update(Id, #{<<"title">> => <<"b">>}, Context),
    host:set(user, 1),
    ok = later(Context),
    ok = m_rsc:delete(Id, Context),
    [ok = m_rsc:delete(User, Context) || User <- [Maker, Editor]],
    {ok, Problems} = revert(Id, newest(Id, Context), Context),
    ?assertEqual([{property, <<"creator_id">>}], Problems),
    ?assertEqual({<<"b">>, 1}, {m_rsc:p(Id, <<"title">>, Context), m_rsc:p(Id, <<"creator_id">>, Context)}),
    [?assert(is_binary(backup_revision_text:problem(Problem, Context))) || Problem <- Problems],
    {ok, [{property, <<"creator_id">>}]} = revert(Id, Revision, Context),
    ?assertEqual(<<"a">>, m_rsc:p(Id, <<"title">>, Context)),
    %% A user who made himself is there when he comes back.
    Self = insert(#{}, Context),
    1 = z_db:q("update rsc set creator_id = id where id = $1", [Self], Context),
    ok = m_rsc:delete(Self, Context),
    ?assertEqual({ok, []}, revert(Self, newest(Self, Context), Context)),
    ?assertEqual(Self, m_rsc:p(Self, <<"creator_id">>, Context)).

categories(Config) ->
    Context = ?config(context, Config),
    host:listen(),
    ok = m_rsc:delete(5, Context),
    {ok, Problems} = revert(5, newest(5, Context), Context),
    ?assertEqual([tree], Problems),
    ?assert(is_binary(backup_revision_text:problem(tree, Context))),
    ?assertEqual([{append, '$category', [5]}], [What || {host, What} <- test_site:flush()]).

medium_that_fails(Config) ->
    Context = ?config(context, Config),
    Id = insert(#{}, Context),
    ok = m_media:insert(Id, <<"a">>, Context),
    ok = later(Context),
    ok = m_rsc:delete(Id, Context),
    host:set(media, crash),
    ?assertEqual({ok, [{medium, failed}]}, revert(Id, newest(Id, Context), Context)),
    ?assert(m_rsc:exists(Id, Context)).

%% Who recovers a page does not get it.
owner_stays(Config) ->
    Context = ?config(context, Config),
    host:set(user, 4),
    Id = insert(#{}, Context),
    ok = m_rsc:delete(Id, Context),
    host:set(user, 5),
    {ok, []} = revert(Id, newest(Id, Context), host:user([mod_backup, {edit, Id}], Context)),
    ?assertEqual(4, m_rsc:p(Id, <<"creator_id">>, Context)),
    %% So it is in the revision of that moment too.
    ?assertMatch({ok, #{<<"type">> := <<"P">>, <<"data">> := #{<<"creator_id">> := 4}}},
                 m_backup_revision:newest_revision(Id, Context)).

revision_of_another_page(Config) ->
    Context = ?config(context, Config),
    [Id, Other] = [insert(#{}, Context) || _ <- "12"],
    ?assertEqual({error, invalid}, revert(Id, newest(Other, Context), Context)),
    ?assertEqual({error, enoent}, revert(Id, 999999, Context)).

%% Media

media_in_one_second(Config) ->
    Context = ?config(context, Config),
    Id = insert(#{}, Context),
    {ok, _} = m_edge:insert(1, <<"relation">>, 2, Context),
    ok = m_edge:tell(10, Context),
    Digests = [<<"a">>, <<"b">>, <<"c">>],
    lists:foreach(fun(Digest) -> ok = m_media:insert(Id, Digest, Context) end, Digests),
    Logged = [maps:get(<<"digest">>, Props) || {Props} <- z_db:q("select props from backup_medium_log order by medium_created", Context)],
    ?assertEqual(Digests, Logged),
    ?assertEqual([{1}], z_db:q("select count(*) from backup_medium_log where medium_deleted is null", Context)),
    %% Told after the next one came, or twice.
    Medium = m_media:get(Id, Context),
    Done = #media_update_done{action = insert, id = Id, post_props = Medium#{<<"filename">> => <<"late">>}},
    ok = mod_backup:observe_media_update_done(Done, Context),
    ok = mod_backup:observe_media_update_done(Done#media_update_done{post_props = Medium}, Context),
    ?assertEqual([{4}], z_db:q("select count(*) from backup_medium_log", Context)),
    [{Current}] = z_db:q("select props from backup_medium_log where medium_deleted is null", Context),
    ?assertEqual(Medium, Current),
    %% One of which nothing is known.
    ok = mod_backup:observe_media_update_done(#media_update_done{action = update, id = Id}, Context).

%% The page of an upload is saved, and then its medium.
upload_of_a_medium(Config) ->
    Context = ?config(context, Config),
    {ok, _} = m_edge:insert(1, <<"relation">>, 2, Context),
    ok = m_edge:tell(10, Context),
    ok = later(Context),
    Id = insert(#{}, Context),
    Revision = newest(Id, Context),
    _ = z_db:q("update backup_revision set created = created - interval '5 seconds'", Context),
    ok = m_media:insert(Id, <<"a">>, Context),
    ok = later(Context),
    ok = m_media:insert(Id, <<"b">>, Context),
    {ok, []} = revert(Id, Revision, Context),
    ?assertMatch(#{<<"digest">> := <<"a">>}, m_media:get(Id, Context)).

medium_before_the_log(Config) ->
    Context = ?config(context, Config),
    Id = insert(#{}, Context),
    ok = later(Context),
    ok = m_media:insert(Id, <<"a">>, Context),
    _ = z_db:q("delete from backup_medium_log", Context),
    ok = later(Context),
    Before = newest(Id, Context),
    ok = update(Id, #{<<"title">> => <<"x">>}, Context),
    %% It was there all the time.
    {ok, []} = revert(Id, newest(Id, Context), Context),
    %% Maybe there was another one.
    {ok, [{medium, unknown}]} = revert(Id, Before, Context),
    ?assertMatch(#{<<"digest">> := <<"a">>}, m_media:get(Id, Context)),
    %% It goes with the page, and is logged at last.
    ok = later(Context),
    ok = m_rsc:delete(Id, Context),
    {ok, []} = revert(Id, newest(Id, Context), Context),
    ?assertMatch(#{<<"digest">> := <<"a">>}, m_media:get(Id, Context)).

%% The medium of now is not given up for one that is lost.
medium_without_its_file(Config) ->
    Context = ?config(context, Config),
    Id = insert(#{}, Context),
    ok = m_media:insert(Id, <<"a">>, Context),
    ok = later(Context),
    ok = update(Id, #{<<"title">> => <<"x">>}, Context),
    Revision = newest(Id, Context),
    ok = later(Context),
    ok = m_media:insert(Id, <<"b">>, Context),
    host:set(is_file_gone, fun(File) -> string:prefix(File, "a-") =/= nomatch end),
    {ok, [{medium, file_gone}]} = revert(Id, Revision, Context),
    ?assertMatch(#{<<"digest">> := <<"b">>}, m_media:get(Id, Context)).
