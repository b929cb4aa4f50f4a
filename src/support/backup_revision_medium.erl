%% @doc The medium of a page at the moment of a revision.
-module(backup_revision_medium).

-export([at/3, payload/1, decode/1, file/1]).

-include_lib("zotonic_core/include/zotonic.hrl").

%% What Zotonic puts before a term in a column.
-define(MAGIC, "'\\x01326a3a'::bytea").
%% A page for an upload is saved before its medium is: that belongs to it all the same.
-define(UPLOAD, "interval '15 seconds'").

%% @doc The medium that a page had at the moment of one of its revisions; `none' when it had none, and
%% `unknown' when the log does not go back to it.
-spec at(m_rsc:resource_id(), integer(), z:context()) ->
    {ok, map(), IsCurrent :: boolean()} | current | none | unknown | {error, unreadable}.
at(Id, RevisionId, Context) ->
    Rows = z_db:q(
        "select m.is_current, " ++ payload("m.props") ++
            " from (
            select props, medium_created, medium_deleted is null as is_current, coalesce(medium_deleted,
                lead(medium_created) over (order by medium_created, id), 'infinity') as gone
            from backup_medium_log where rsc_id = $1) m,
            (select created as at from backup_revision where id = $2) r
         where m.medium_created <= r.at + " ?UPLOAD " and m.gone > r.at
         order by m.medium_created > r.at, m.medium_created limit 1",
        [Id, RevisionId],
        Context
    ),
    case Rows of
        [{IsCurrent, Data}] ->
            case decode(Data) of
                {ok, Medium} -> {ok, Medium, IsCurrent};
                {error, _} = Error -> Error
            end;
        [] ->
            not_logged(Id, RevisionId, Context)
    end.

%% A medium that is older than the log was there all the time. Before the log began, nobody knows.
not_logged(Id, RevisionId, Context) ->
    [{IsCurrent, IsLogged}] = z_db:q(
        "select exists (select from medium m where m.id = $1 and m.created <= r.created),
            coalesce((select timestamp <= r.created from backup_edge_log order by id limit 1), false)
         from backup_revision r where r.id = $2",
        [Id, RevisionId],
        Context
    ),
    case {IsCurrent, IsLogged} of
        {true, _} -> current;
        {false, true} -> none;
        {false, false} -> unknown
    end.

%% @doc SQL for the bytes of a term in a column: read like this, Zotonic does not decode them. It would take
%% any term.
-spec payload(string()) -> string().
payload(Column) ->
    "case when substring(" ++ Column ++ " for 4) = " ?MAGIC " then substring(" ++ Column ++
        " from 5) else " ++ Column ++ " end".

-spec decode(term()) -> {ok, map()} | {error, unreadable}.
decode(Data) ->
    backup_revision_term:props(Data).

%% @doc The name of the file of a logged medium.
-spec file(term()) -> term().
file(Data) ->
    case decode(Data) of
        {ok, Medium} -> maps:get(<<"filename">>, Medium, undefined);
        {error, _} -> unreadable
    end.
