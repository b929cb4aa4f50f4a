%% @doc The revision log on a real database, with a small core of Zotonic in its place: what is kept, listed and pruned.
-module(backup_revision_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").
-include_lib("zotonic_core/include/zotonic.hrl").

-export([all/0, suite/0, init_per_suite/1, end_per_suite/1, init_per_testcase/2, end_per_testcase/2]).
-export([
    any_history_comes_back/1, tables_are_made_once/1, old_sites_keep_what_they_have/1, deletions_of_old_sites/1,
    unchanged_is_not_saved/1, last_deletion_counts/1, secrets_come_back/1, name_of_the_user/1, unreadable/1,
    odd/1, old_rows/1, deleted_pages/1, permissions/1, models/1, choice/1, many_revisions/1, prunes/1, uploads/1
]).
-import(revision_site, [edges/2, insert/2, later/1, newest/2, page/3, pick/1, revert/3, update/3, with_q/3, word/0]).

suite() ->
    [{timetrap, {minutes, 10}}].

all() ->
    [Name || {Name, 1} <- ?MODULE:module_info(exports),
             not lists:member(Name, [module_info, init_per_suite, end_per_suite])].

init_per_suite(Config) ->
    revision_site:needs_postgres(Config).

end_per_suite(_Config) ->
    ok.

init_per_testcase(old_sites_keep_what_they_have = Name, Config) ->
    revision_site:start(Name, Config);
init_per_testcase(Name, Config) ->
    revision_site:start_with_log(Name, Config).

end_per_testcase(_Name, _Config) ->
    revision_site:stop().

%% Histories

%% After going back to any revision, a page has the properties, the connections and the medium of its moment.
any_history_comes_back(Config) ->
    Context = ?config(context, Config),
    Seed = case os:getenv("SEED") of
        false -> erlang:unique_integer([positive]) + erlang:system_time();
        Text -> list_to_integer(Text)
    end,
    ct:pal("SEED=~b", [Seed]),
    _ = rand:seed(exsss, Seed),
    lists:foreach(fun(_) -> history(Context) end, lists:seq(1, 12)).

history(Context) ->
    Pages = [insert(#{<<"title">> => word(), <<"is_dependent">> => rand:uniform(3) =:= 1}, Context) || _ <- lists:seq(1, 5)],
    %% The log must have begun.
    _ = m_edge:insert(hd(Pages), <<"relation">>, lists:last(Pages), Context),
    ok = m_edge:tell(1000, Context),
    ok = later(Context),
    Moments = steps(40, Pages, #{}, Context),
    Some = lists:sublist([M || {_, M} <- lists:sort([{rand:uniform(), M} || M <- maps:to_list(Moments)])], 12),
    lists:foreach(fun({Revision, Moment}) -> back(Revision, Moment, Context) end, Some).

%% So many, and until there are some moments to go back to.
steps(Left, _, Moments, _) when Left =< 0, map_size(Moments) > 5 ->
    Moments;
steps(Left, Pages, Moments, Context) ->
    steps(Left - 1, Pages, step(Pages, Moments, Context), Context).

%% Something happens, then an hour passes. What a page is when it is saved is kept by the id of its revision.
step(Pages, Moments, Context) ->
    Page = pick(Pages),
    Last = last_revision(Context),
    Before = moment(Page, Context),
    Deleted = case {m_rsc:exists(Page, Context), rand:uniform(14)} of
        {true, N} when N =< 4 -> update(Page, change(), Context), false;
        {true, 5} -> m_rsc:delete(Page, Context), true;
        {true, N} when N =< 9 -> connect(Page, pick(Pages), Context), false;
        {true, N} when N =< 11 -> disconnect(Page, Context), false;
        {true, 12} -> m_media:insert(Page, word(), Context), false;
        {true, 13} -> m_media:delete(Page, Context), false;
        {true, 14} -> m_edge:tell(rand:uniform(5), Context), false;
        {false, _} -> recover(Page, Context), false
    end,
    After = moment(Page, Context),
    Saved = z_db:q("select id, type from backup_revision where id > $1 and rsc_id = $2 order by id desc limit 1",
                   [Last, Page], Context),
    ok = later(Context),
    Kept = case Saved of
        [{Revision, $D}] when Deleted -> Moments#{Revision => Before};
        %% Of a page that comes back, the last thing to come is a connection.
        [{Revision, $P}] when is_map(Before) -> Moments#{Revision => After};
        _ -> Moments
    end,
    %% A second deletion takes the place of the first.
    Ids = [Id || {Id} <- z_db:q("select id from backup_revision", Context)],
    maps:with(Ids, Kept).

recover(Page, Context) ->
    case m_backup_revision:newest_revision(Page, Context) of
        {ok, #{<<"id">> := Revision}} -> {ok, _} = revert(Page, Revision, Context), ok;
        {error, enoent} -> ok
    end.

back(Revision, #{page := Page, props := Props, edges := Edges, medium := Medium}, Context) ->
    case rand:uniform(3) of
        1 -> ok = m_edge:tell(1000, Context);
        _ -> ok
    end,
    {ok, Problems} = revert(Page, Revision, Context),
    #{props := Props1, edges := Edges1, medium := Medium1} = moment(Page, Context),
    ?assertEqual(Props, Props1),
    ?assertEqual(Medium, Medium1),
    Impossible = lists:sort([Edge || {edge, gone, Edge} <- Problems]),
    ?assertEqual(Edges, lists:sort(Edges1 ++ [Edge || Edge <- Impossible, is_of(Page, Edge)])),
    ?assertEqual([], [Edge || {S, _, O} = Edge <- Impossible,
                              m_rsc:exists(S, Context) andalso m_rsc:exists(O, Context)]),
    ?assertEqual([], [Problem || Problem <- Problems, element(1, Problem) =/= edge]),
    later(Context).

is_of(Page, {S, _, O}) -> S =:= Page orelse O =:= Page.

%% What a page is, as far as it can come back.
moment(Page, Context) ->
    case m_rsc:get_raw(Page, Context) of
        {ok, Props} ->
            #{
                page => Page,
                props => maps:remove(<<"version">>, Props),
                edges => edges(Page, Context),
                medium => maps:get(<<"digest">>, medium(Page, Context), none)
            };
        {error, enoent} ->
            gone
    end.

medium(Page, Context) ->
    case m_media:get(Page, Context) of
        undefined -> #{};
        Medium -> Medium
    end.

change() ->
    #{pick([<<"title">>, <<"body">>, <<"extra">>]) => pick([word(), word(), undefined, #trans{tr = [{en, word()}]}]),
      <<"secret">> => word()}.

connect(Page, Other, Context) ->
    case m_rsc:exists(Other, Context) of
        true -> m_edge:insert(Page, pick([<<"relation">>, <<"author">>]), Other, Context);
        false -> ok
    end.

disconnect(Page, Context) ->
    case edges(Page, Context) of
        [] -> ok;
        Edges -> {S, P, O} = pick(Edges), ok = m_edge:delete(S, P, O, Context)
    end.

last_revision(Context) ->
    z_db:q1("select coalesce(max(id), 0) from backup_revision", Context).

%% Tables

tables_are_made_once(Config) ->
    Context = ?config(context, Config),
    Id = insert(#{<<"title">> => <<"kept">>}, Context),
    Tables = tables(Context),
    ?assertEqual([<<"backup_edge_log">>, <<"backup_medium_log">>, <<"backup_revision">>, <<"columns">>, <<"trigger">>],
                 lists:usort([Table || {Table, _} <- Tables])),
    lists:foreach(
        fun(Version) -> ok = mod_backup:manage_schema(Version, Context) end,
        [install, {upgrade, 5}, {upgrade, 4}]
    ),
    ?assertEqual(Tables, tables(Context)),
    ?assertMatch([_], m_backup_revision:list_revisions(Id, Context)),
    ?assert(hd(proplists:get_value(mod_schema, mod_backup:module_info(attributes))) > 4).

tables(Context) ->
    z_db:q("select tablename::text, indexdef from pg_indexes where schemaname = current_schema() and tablename like 'backup%'"
           " union all select 'trigger', tgname::text from pg_trigger where tgrelid in ('medium'::regclass, 'edge'::regclass)"
           " and not tgisinternal"
           " union all select 'columns', string_agg(table_name || column_name || data_type, ',' order by table_name, column_name)"
           " from information_schema.columns where table_schema = current_schema() and table_name like 'backup%' order by 1, 2",
           Context).

%% The tables as sites had them before deletions, connections and media were in the log.
old_sites_keep_what_they_have(Config) ->
    Context = ?config(context, Config),
    [] = z_db:q(
        "create table backup_revision (id bigserial not null, type character(1) not null, rsc_id integer not null,
            created timestamp with time zone not null default current_timestamp, version integer, user_id integer,
            user_name character varying(80), filename character varying(400), note character varying(200),
            data_type character varying(10) not null, data bytea not null, primary key (id))", Context),
    [] = z_db:q("create index backup_revision_id_created on backup_revision (rsc_id, created)", Context),
    [] = z_db:q(
        "create table backup_edge_log (id bigserial not null, subject_id int not null, predicate character varying(300),
            object_id int not null, is_insert boolean not null default true,
            timestamp timestamp with time zone not null default current_timestamp, primary key (id))", Context),
    Data = term_to_binary([{title, <<"of 2012">>}, {is_dependent, false}]),
    1 = z_db:q("insert into backup_revision (type, rsc_id, version, data_type, data, created)
        values ('P', 77, 3, 'erlang', $1, '2012-05-01')", [Data], Context),
    1 = z_db:q("insert into rsc_gone (id, modified) values (77, '2012-06-01')", Context),
    ok = mod_backup:manage_schema({upgrade, 5}, Context),
    %% It is in the list of deleted pages, with the time of its deletion, and can be recovered.
    #search_result{total = 1, result = [Row]} = m_backup_revision:list_deleted({1, 10}, Context),
    ?assertMatch(#{<<"rsc_id">> := 77, <<"title_html">> := <<"of 2012">>, <<"created">> := {{2012, 6, 1}, _}}, Row),
    {ok, []} = revert(77, maps:get(<<"id">>, Row), Context),
    ?assertEqual(<<"of 2012">>, m_rsc:p(77, <<"title">>, Context)),
    Id = insert(#{}, Context),
    ok = m_media:insert(Id, <<"x">>, Context),
    {ok, _} = m_edge:insert(Id, <<"relation">>, 1, Context),
    ok = m_edge:tell(1, Context),
    ok = m_rsc:delete(Id, Context),
    ?assertMatch([{false}], z_db:q("select medium_deleted is null from backup_medium_log", Context)).

%% Zotonic's module saved the deletion after connections were told to be gone.
deletions_of_old_sites(Config) ->
    Context = ?config(context, Config),
    {A, B} = {insert(#{}, Context), insert(#{}, Context)},
    {ok, _} = m_edge:insert(A, <<"relation">>, B, Context),
    ok = m_edge:tell(10, Context),
    ok = later(Context),
    ok = m_rsc:delete(A, Context),
    ok = m_edge:tell(10, Context),
    1 = z_db:q("update backup_revision set created = now() + interval '1 second' where type = 'D'", Context),
    ok = mod_backup:manage_schema({upgrade, 5}, Context),
    {ok, []} = revert(A, newest(A, Context), Context),
    ?assertEqual([{A, <<"relation">>, B}], edges(A, Context)).

%% Saving

unchanged_is_not_saved(Config) ->
    Context = ?config(context, Config),
    Id = insert(#{<<"title">> => <<"a">>}, Context),
    {ok, Props} = m_rsc:get_raw(Id, Context),
    Done = #rsc_update_done{action = update, id = Id, post_props = Props},
    ok = mod_backup:observe_rsc_update_done(Done, Context),
    ?assertMatch([_], m_backup_revision:list_revisions(Id, Context)),
    ok = update(Id, #{<<"title">> => <<"b">>}, Context),
    ?assertMatch([#{<<"version">> := 2}, #{<<"version">> := 1}], m_backup_revision:list_revisions(Id, Context)),
    %% A page that came back may get the version that it had when it was deleted.
    ok = m_rsc:delete(Id, Context),
    {ok, []} = revert(Id, newest(Id, Context), Context),
    ?assertEqual([<<"P">>, <<"D">>, <<"P">>, <<"P">>],
                 [Type || #{<<"type">> := Type} <- m_backup_revision:list_revisions(Id, Context)]).

last_deletion_counts(Config) ->
    Context = ?config(context, Config),
    Id = insert(#{<<"title">> => <<"a">>}, Context),
    ok = m_rsc:delete(Id, Context),
    {ok, []} = revert(Id, newest(Id, Context), Context),
    ok = update(Id, #{<<"title">> => <<"b">>}, Context),
    ok = later(Context),
    ok = m_rsc:delete(Id, Context),
    ?assertMatch([{1}], z_db:q("select count(*) from backup_revision where type = 'D'", Context)),
    ?assertMatch(#search_result{total = 1, result = [#{<<"title_html">> := <<"b">>}]},
                 m_backup_revision:list_deleted({1, 10}, Context)),
    %% Told by itself, as by a core that does not tell before it deletes.
    Other = insert(#{<<"title">> => <<"c">>}, Context),
    {ok, Props} = m_rsc:get_raw(Other, Context),
    1 = z_db:q("delete from rsc where id = $1", [Other], Context),
    Done = #rsc_update_done{action = delete, id = Other, pre_props = Props},
    ok = mod_backup:observe_rsc_update_done(Done, Context),
    ?assertMatch(#search_result{total = 2}, m_backup_revision:list_deleted({1, 10}, Context)),
    ok = mod_backup:observe_rsc_update_done(Done#rsc_update_done{pre_props = undefined}, Context).

%% Who deletes a page may not be allowed to see all of it.
secrets_come_back(Config) ->
    Context = ?config(context, Config),
    Id = insert(#{<<"title">> => <<"a">>, <<"secret">> => <<"s">>}, Context),
    ok = m_rsc:delete(Id, Context),
    {ok, []} = revert(Id, newest(Id, Context), Context),
    ?assertEqual(<<"s">>, m_rsc:p(Id, <<"secret">>, Context)).

name_of_the_user(Config) ->
    Context = ?config(context, Config),
    Name = unicode:characters_to_binary(lists:duplicate(100, 16#1F980)),
    User = insert(#{<<"title">> => #trans{tr = [{en, Name}]}}, Context),
    host:set(user, User),
    Id = insert(#{}, Context),
    Short = string:slice(Name, 0, 80),
    ?assertMatch([#{<<"user_id">> := User, <<"user_name">> := Short}], m_backup_revision:list_revisions(Id, Context)),
    %% One letter can be many characters; and a page can be deleted by anybody.
    Marked = unicode:characters_to_binary(lists:duplicate(60, [$e, 16#301, 16#302])),
    ok = update(User, #{<<"title">> => <<Marked/binary, 0>>}, Context),
    ok = update(Id, #{<<"title">> => <<"x">>}, Context),
    [#{<<"user_name">> := Cut} | _] = m_backup_revision:list_revisions(Id, Context),
    ?assertEqual(80, length(unicode:characters_to_list(Cut))),
    ?assertMatch({0, _}, binary:match(Marked, Cut)),
    Other = insert(#{}, Context),
    ok = m_rsc:delete(Other, Context),
    host:set(user, undefined),
    ok = update(Id, #{<<"title">> => <<"x">>}, Context),
    ?assertMatch([#{<<"user_id">> := undefined} | _], m_backup_revision:list_revisions(Id, Context)).

%% Reading

unreadable(Config) ->
    Context = ?config(context, Config),
    Id = insert(#{<<"title">> => <<"a">>}, Context),
    Bad = [<<131, 1, 2>>, <<131>>, <<"none">>, term_to_binary(fun lists:map/2), term_to_binary(self()), term_to_binary(7),
           <<131, 80, 16#ffffffff:32, 1, 2, 3>>],
    [1 = z_db:q("insert into backup_revision (rsc_id, type, version, data_type, data) values ($1, 'P', 5, 'erlang', decode($2, 'hex'))",
                [Id, binary:encode_hex(Data)], Context) || Data <- Bad],
    Revisions = m_backup_revision:list_revisions(Id, Context),
    ?assertEqual(length(Bad) + 1, length(Revisions)),
    Unreadable = [Revision || #{<<"version">> := 5, <<"id">> := Revision} <- Revisions],
    [?assertMatch({ok, #{<<"is_unreadable">> := true, <<"data">> := undefined}}, m_backup_revision:get_revision(R, Context)) || R <- Unreadable],
    [?assertEqual({error, unreadable}, revert(Id, R, Context)) || R <- Unreadable],
    ok = m_rsc:delete(Id, Context),
    _ = z_db:q("update backup_revision set data = '\\x00' where type = 'D'", Context),
    ?assertMatch(#search_result{total = 1, result = [#{<<"is_unreadable">> := true, <<"title_html">> := <<>>}]},
                 m_backup_revision:list_deleted({1, 10}, Context)),
    {_, _} = page(Id, [], Context).

%% What is read is not what it should be.
odd(Config) ->
    Context = ?config(context, Config),
    lists:foreach(
        fun(Title) ->
            Id = insert(#{<<"title">> => <<"a">>}, Context),
            ok = m_rsc:delete(Id, Context),
            Odd = #{<<"title">> => Title, <<"category_id">> => #{<<"title">> => <<"<script>">>}},
            1 = z_db:q("update backup_revision set data = $2 where rsc_id = $1 and type = 'D'",
                       [Id, term_to_binary(Odd)], Context),
            #search_result{result = [Row | _]} = m_backup_revision:list_deleted({1, 1}, Context),
            ?assertMatch(#{<<"rsc_id">> := Id, <<"category_id">> := undefined}, Row),
            ?assertEqual(nomatch, string:find(maps:get(<<"title_html">>, Row), "<")),
            {_, _} = page(Id, [], Context)
        end,
        [#trans{tr = x}, #trans{tr = [x]}, #trans{tr = [{en, 1}]}, #trans{tr = [{<<"xx">>, <<"<">>} | {en, <<"<">>}]},
         #trans{tr = [{en, <<"<b>">>}]}, "<text>", [$a | b], 1 bsl 64, {1, 2}, #{<<"<">> => <<"<">>}]
    ).

%% A list of properties, with names that this node has no atoms for.
old_rows(Config) ->
    Context = ?config(context, Config),
    Id = insert(#{<<"title">> => <<"now">>}, Context),
    Atom = fun(Name) -> <<100, (byte_size(Name)):16, Name/binary>> end,
    Pair = fun(Name, Value) -> <<104, 2, (Atom(Name))/binary, 109, (byte_size(Value)):32, Value/binary>> end,
    Data = <<131, 108, 2:32, (Pair(<<"title">>, <<"then">>))/binary,
             (Pair(<<"no_atom_like_this_in_any_node">>, <<"x">>))/binary, 106>>,
    ?assertError(badarg, binary_to_term(Data, [safe])),
    Revision = z_db:q1("insert into backup_revision (rsc_id, type, data_type, data, created)
        values ($1, 'P', 'erlang', $2, '2012-01-01') returning id", [Id, Data], Context),
    {ok, []} = revert(Id, Revision, Context),
    ?assertMatch({ok, #{<<"title">> := <<"then">>, <<"no_atom_like_this_in_any_node">> := <<"x">>}},
                 m_rsc:get_raw(Id, Context)).

deleted_pages(Config) ->
    Context = ?config(context, Config),
    Ids = [begin
        Id = insert(#{<<"title">> => <<"Page ", (integer_to_binary(N))/binary, " &lt;b&gt; <script>">>}, Context),
        ok = m_rsc:delete(Id, Context),
        ok = later(Context),
        Id
    end || N <- lists:seq(1, 5)],
    Search = fun(Offset, Limit, C) ->
        #search_result{result = Rows, total = Total} = mod_backup:observe_search_query(
            #search_query{name = <<"backup_deleted">>, offsetlimit = {Offset, Limit}}, C),
        {Total, [Id || #{<<"rsc_id">> := Id} <- Rows]}
    end,
    [A, B, C, D, E] = Ids,
    ?assertEqual({5, [E, D]}, Search(1, 2, Context)),
    ?assertEqual({5, [C, B]}, Search(3, 2, Context)),
    ?assertEqual({5, [A]}, Search(5, 2, Context)),
    ?assertEqual({5, [E]}, Search(1, 1, host:user([mod_backup], Context))),
    ?assertEqual({0, []}, Search(1, 2, host:user([mod_admin], Context))),
    ?assertEqual(undefined, mod_backup:observe_search_query(#search_query{name = <<"other">>}, Context)),
    #search_result{result = [Row | _]} = m_backup_revision:list_deleted({1, 1}, Context),
    ?assertEqual(<<"Page 5 &lt;b&gt; &lt;script&gt;">>, maps:get(<<"title_html">>, Row)).

%% Pages

permissions(Config) ->
    Context = ?config(context, Config),
    [Id, Gone] = [insert(#{}, Context) || _ <- "12"],
    ok = m_rsc:delete(Gone, Context),
    May = fun(Page, Acl) ->
        {Is, _} = controller_admin_backup_revision:is_authorized(with_q(Page, [], host:user(Acl, Context))),
        Is
    end,
    ?assertEqual([false, false, false, true, true, true],
                 [May(Id, Acl) || Acl <- [[], [mod_admin], [mod_backup], [mod_admin, {edit, Id}], [mod_admin, mod_backup], admin]]),
    ?assertEqual([false, false, true], [May(Gone, Acl) || Acl <- [[], [mod_admin, {edit, Gone}], [mod_admin, mod_backup]]]),
    host:listen(),
    Revert = #submit{message = {revert, [{rsc_id, Gone}, {rev_id, newest(Gone, Context)}]}},
    _ = controller_admin_backup_revision:event(Revert, host:user([mod_admin], Context)),
    ?assertNot(m_rsc:exists(Gone, Context)),
    _ = controller_admin_backup_revision:event(Revert, Context),
    ?assert(m_rsc:exists(Gone, Context)),
    ?assertMatch([{wire, _}, {growl_error, _}, {wire, _}, {wire, {redirect, _}}], [What || {host, What} <- test_site:flush()]).

models(Config) ->
    Context = ?config(context, Config),
    Id = insert(#{<<"title">> => <<"t">>}, Context),
    Get = fun(Path, Acl) -> m_backup_revision:m_get(Path, undefined, host:user(Acl, Context)) end,
    ?assertMatch({ok, {[#{<<"version">> := 1}], [<<"x">>]}}, Get([<<"list">>, Id, <<"x">>], [mod_backup])),
    ?assertMatch({ok, {[_], []}}, Get([<<"list">>, Id], [{edit, Id}])),
    ?assertEqual({error, eacces}, Get([<<"list">>, Id], [])),
    ?assertEqual({ok, {<<"t">>, []}}, Get([<<"title">>, Id], [mod_backup])),
    ?assertEqual({error, eacces}, Get([<<"title">>, Id], [])),
    ok = m_rsc:delete(Id, Context),
    ?assertEqual({ok, {<<"t">>, []}}, Get([<<"title">>, Id], [mod_backup])),
    ?assertEqual({error, eacces}, Get([<<"title">>, Id], [{edit, Id}])),
    ?assertEqual({error, enoent}, Get([<<"list">>, <<"no number">>], admin)),
    ?assertEqual({error, unknown_path}, Get([<<"other">>], admin)),
    ?assertEqual([18, 90, 30], [element(1, element(2, Get([Key], []))) || Key <-
        [<<"retention_months">>, <<"user_retention_days">>, <<"deleted_user_retention_days">>]]).

%% Of a deleted page the last version is offered, and not also one before it.
choice(Config) ->
    Context = ?config(context, Config),
    Id = insert(#{<<"title">> => <<"a">>}, Context),
    ok = update(Id, #{<<"title">> => <<"b">>}, Context),
    Chosen = fun(Query) ->
        _ = page(Id, Query, Context),
        [{_, Vars}] = [What || {host, What} <- test_site:flush(), element(1, What) =:= render],
        {version(old, Vars), version(new, Vars)}
    end,
    host:listen(),
    ?assertEqual({{<<"P">>, 1}, {<<"P">>, 2}}, Chosen([])),
    ok = m_rsc:delete(Id, Context),
    ?assertEqual({{<<"D">>, 2}, {<<"D">>, 2}}, Chosen([])),
    [_, _, #{<<"id">> := First}] = m_backup_revision:list_revisions(Id, Context),
    ?assertEqual({{<<"P">>, 1}, {<<"P">>, 1}}, Chosen([{<<"a">>, integer_to_binary(First)}])).

%% Of a page that is often changed the newest are shown, and those that are compared.
many_revisions(Config) ->
    Context = ?config(context, Config),
    Id = insert(#{<<"title">> => <<"a">>}, Context),
    _ = z_db:q(
        "insert into backup_revision (rsc_id, type, created, version, data_type, data)
         select rsc_id, type, created - n * interval '1 hour', 1, data_type, data
         from backup_revision, generate_series(1, 119) n where rsc_id = $1", [Id], Context),
    Ids = [RevId || #{<<"id">> := RevId} <- m_backup_revision:list_revisions(Id, Context)],
    ?assertEqual(120, length(Ids)),
    host:listen(),
    Shown = fun(Query) ->
        _ = page(Id, [{Key, integer_to_binary(Value)} || {Key, Value} <- Query], Context),
        [{_, Vars}] = [What || {host, What} <- test_site:flush(), element(1, What) =:= render],
        [RevId || #{<<"id">> := RevId} <- proplists:get_value(revisions, Vars)]
            ++ [{proplists:get_value(newer, Vars), proplists:get_value(older, Vars)}]
    end,
    [First, Second | _] = Ids,
    ?assertEqual(lists:sublist(Ids, 50) ++ [{undefined, 2}], Shown([])),
    ?assertEqual([First, Second] ++ lists:sublist(Ids, 51, 50) ++ [{1, 3}], Shown([{<<"page">>, 2}])),
    Last = lists:last(Ids),
    ?assertEqual(lists:sublist(Ids, 50) ++ [Last, {undefined, 2}], Shown([{<<"a">>, Last}, {<<"b">>, First}])),
    ?assertEqual([First] ++ lists:sublist(Ids, 101, 20) ++ [{2, undefined}],
                 Shown([{<<"a">>, Last}, {<<"b">>, First}, {<<"page">>, 3}])),
    ?assertEqual(lists:sublist(Ids, 50) ++ [{undefined, 2}], Shown([{<<"page">>, 9}])).

version(Name, Vars) ->
    #{<<"type">> := Type, <<"version">> := Version} = proplists:get_value(Name, Vars),
    {Type, Version}.

%% Pruning, by the settings of the site.
prunes(Config) ->
    Context = ?config(context, Config),
    Id = insert(#{}, Context),
    User = insert(#{}, Context),
    1 = z_db:q("insert into identity (rsc_id, type) values ($1, 'username_pw')", [User], Context),
    ok = host_db:age("100 days", Context),
    host:set(environment, backup),
    ok = mod_backup:observe_tick_24h(tick_24h, Context),
    ?assertMatch([_], m_backup_revision:list_revisions(User, Context)),
    host:set(environment, production),
    {ok, #{rules := Rules}} = mod_backup:observe_tick_24h(tick_24h, Context),
    ?assertMatch([0, 1, 0, 0, 0], [Deleted || #{deleted := Deleted} <- Rules]),
    ?assertEqual([], m_backup_revision:list_revisions(User, Context)),
    host:set(config, #{{mod_backup, revision_retention_months} => <<"1">>}),
    {ok, #{rules := [#{deleted := 1} | _]}} = mod_backup:observe_tick_24h(tick_24h, Context),
    ?assertEqual([], m_backup_revision:list_revisions(Id, Context)).

%% A page from a file, in each of its forms.
uploads(Config) ->
    Context = ?config(context, Config),
    Id = insert(#{<<"title">> => <<"before">>, <<"name">> => <<"n">>}, Context),
    Upload = fun(To, Term) ->
        mod_backup:observe_rsc_upload(#rsc_upload{id = To, format = bert, data = term_to_binary(Term)}, Context)
    end,
    lists:foreach(
        fun(Form) ->
            Title = word(),
            ?assertEqual({ok, Id}, Upload(Id, Form(Title))),
            ?assertEqual(Title, m_rsc:p(Id, <<"title">>, Context)),
            ?assertEqual({<<"n">>, 1}, {m_rsc:p(Id, <<"name">>, Context), m_rsc:p(Id, <<"creator_id">>, Context)})
        end,
        [
            fun(T) -> #{<<"title">> => T, <<"id">> => 4, <<"creator_id">> => 4, <<"version">> => 9} end,
            fun(T) -> [#{<<"title">> => T, <<"category_id">> => 4}] end,
            fun(T) -> [{4, [{title, T}, {id, 4}]}] end,
            fun(T) -> [{title, T}, {modifier_id, 4}] end,
            fun(T) -> {bert, dict, [{<<"title">>, T}, {<<"is_x">>, {bert, true}}]} end
        ]
    ),
    ?assertEqual(true, m_rsc:p(Id, <<"is_x">>, Context)),
    {ok, New} = Upload(undefined, #{<<"title">> => <<"new">>, <<"computed_category">> => [<<"unknown">>, <<"article">>]}),
    ?assertEqual(<<"new">>, m_rsc:p(New, <<"title">>, Context)).
