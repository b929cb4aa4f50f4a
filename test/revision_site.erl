%% @doc A site with a revision log, on a real database, and what its users do.
-module(revision_site).

-export([needs_postgres/1, start/2, start_with_log/2, stop/0]).
-export([insert/2, update/3, revert/3, newest/2, later/1, edges/2, word/0, pick/1, page/3, with_q/3]).

%% @doc Skips a suite where there is no PostgreSQL to play with.
-spec needs_postgres(Config) -> Config | {skip, string()}.
needs_postgres(Config) ->
    case os:getenv("ZBACKUP_TEST_PG") of
        "1" -> Config;
        _ -> {skip, "there is no PostgreSQL to play with: run this by scripts/with-postgres"}
    end.

%% @doc A site without a revision log; its context is in the configuration.
-spec start(atom(), list()) -> list().
start(Name, Config) ->
    host:reset(),
    ok = host_db:start("Revisions of " ++ atom_to_list(Name)),
    host:set(user, 1),
    Context = host:context(testsite, ""),
    lists:foreach(fun(_) -> 1 = z_db:q("insert into rsc (version) values (1)", Context) end, lists:seq(1, 9)),
    1 = z_db:q("update rsc set name = 'relation' where id = 8", Context),
    1 = z_db:q("update rsc set name = 'author' where id = 9", Context),
    [{context, Context} | Config].

%% @doc A site with one.
-spec start_with_log(atom(), list()) -> list().
start_with_log(Name, Config) ->
    [{context, Context} | _] = Config1 = start(Name, Config),
    ok = mod_backup:manage_schema(install, Context),
    Config1.

%% @doc Ends it.
-spec stop() -> ok.
stop() ->
    ok = host_db:stop(),
    host:reset().

%% @doc The connections of a page, by the names of their predicates.
-spec edges(integer(), z:context()) -> [{integer(), binary(), integer()}].
edges(Page, Context) ->
    lists:sort(z_db:q("select e.subject_id, p.name, e.object_id from edge e join rsc p on p.id = e.predicate_id"
                      " where e.subject_id = $1 or e.object_id = $1", [Page], Context)).

%% @doc One of them, at random.
-spec pick([T, ...]) -> T.
pick(List) -> lists:nth(rand:uniform(length(List)), List).

%% @doc A word, at random.
-spec word() -> binary().
word() -> integer_to_binary(rand:uniform(1000000), 36).

%% @doc An hour passes.
-spec later(z:context()) -> ok.
later(Context) ->
    host_db:age("1 hour", Context).

%% @doc A new page.
-spec insert(map(), z:context()) -> integer().
insert(Props, Context) ->
    {ok, Id} = m_rsc_update:insert(Props, [], Context),
    Id.

%% @doc A page is saved.
-spec update(integer(), map(), z:context()) -> ok.
update(Id, Props, Context) ->
    {ok, Id} = m_rsc_update:update(Id, Props, [], Context),
    ok.

%% @doc A page goes back to a revision, with all that belongs to it.
-spec revert(integer(), integer(), z:context()) -> {ok, list()} | {error, term()}.
revert(Id, Revision, Context) ->
    m_backup_revision:revert(Id, Revision, [outgoing_edges, incoming_edges, dependent], Context).

%% @doc The newest revision of a page.
-spec newest(integer(), z:context()) -> integer().
newest(Id, Context) ->
    {ok, #{<<"id">> := Revision}} = m_backup_revision:newest_revision(Id, Context),
    Revision.

%% @doc The page of the revisions of a page.
-spec page(integer(), list(), z:context()) -> term().
page(Id, Query, Context) ->
    controller_admin_backup_revision:process(<<"GET">>, undefined, undefined, with_q(Id, Query, Context)).

%% @doc A request for it.
-spec with_q(integer(), list(), z:context()) -> z:context().
with_q(Id, Query, Context) ->
    host:query([{<<"id">>, integer_to_binary(Id)} | Query], Context).
