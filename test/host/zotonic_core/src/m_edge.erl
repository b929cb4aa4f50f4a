%% @doc A stand-in for the module of the same name in Zotonic. What changes is told later, from the log.
-module(m_edge).

-export([insert/4, insert/5, delete/4, tell/2]).

-include("../include/zotonic.hrl").

-spec insert(integer(), binary(), integer(), z:context()) -> {ok, term()} | {error, term()}.
insert(Subject, Predicate, Object, Context) ->
    insert(Subject, Predicate, Object, [], Context).

-spec insert(integer(), binary(), integer(), list(), z:context()) -> {ok, term()} | {error, term()}.
insert(Subject, Predicate, Object, Options, Context) ->
    case z_acl:rsc_editable(Subject, Context) of
        true ->
            _ = z_db:q(
                "insert into edge (subject_id, predicate_id, object_id, seq)"
                " values ($1, (select id from rsc where name = $2), $3, coalesce($4, 1000000)) on conflict do nothing",
                [Subject, Predicate, Object, proplists:get_value(seq, Options)], Context),
            {ok, 1};
        false ->
            host:get(edge, {error, eacces})
    end.

-spec delete(integer(), binary(), integer(), z:context()) -> ok | {error, term()}.
delete(Subject, Predicate, Object, Context) ->
    case z_acl:rsc_editable(Subject, Context) of
        true ->
            _ = z_db:q("delete from edge where subject_id = $1 and object_id = $3"
                       " and predicate_id = (select id from rsc where name = $2)",
                       [Subject, Predicate, Object], Context),
            ok;
        false ->
            {error, eacces}
    end.

%% @doc Tells of the first changes in the log, and forgets them.
-spec tell(pos_integer(), z:context()) -> ok.
tell(Count, Context) ->
    Rows = z_db:q("select id, op, subject_id, predicate, object_id, edge_id from edge_log order by id limit $1",
                  [Count], Context),
    lists:foreach(
        fun
            ({_, <<"INSERT">>, S, P, O, Edge}) ->
                ok = mod_backup:observe_edge_insert(
                    #edge_insert{subject_id = S, predicate = binary_to_atom(P, utf8), object_id = O, edge_id = Edge}, Context);
            ({_, <<"DELETE">>, S, P, O, Edge}) ->
                ok = mod_backup:observe_edge_delete(
                    #edge_delete{subject_id = S, predicate = binary_to_atom(P, utf8), object_id = O, edge_id = Edge}, Context);
            ({_, <<"UPDATE">>, _, _, _, _}) ->
                ok
        end,
        Rows
    ),
    lists:foreach(fun(Row) -> 1 = z_db:q("delete from edge_log where id = $1", [element(1, Row)], Context) end, Rows).
