%% @doc Writes down what happens to pages: their properties, connections and media.
%%
%% A revision says what a page was at its moment, so moments must be right. A deletion is written down in
%% the transaction that deletes, with its time. Zotonic tells of connections some time after they were made
%% or broken, up to minutes: its own log has the time.
-module(backup_revision_log).

-export([rsc_delete/2, rsc_update_done/2, edge_insert/2, edge_delete/2, media_update_done/2]).
-export([medium_check/2, again/2]).

-include_lib("zotonic_core/include/zotonic.hrl").

%% What a column holds.
-define(LONGEST_NAME, 80).

%% @doc A page is about to be deleted, in this transaction.
-spec rsc_delete(#rsc_delete{}, z:context()) -> ok.
rsc_delete(#rsc_delete{id = Id}, Context) ->
    ok = medium_check(Id, Context),
    %% All of it. What comes with rsc_update_done is only what the user may see.
    case m_rsc:get_raw(Id, Context) of
        {ok, Props} ->
            %% The connections that go with the page have the time of this transaction.
            save_deleted(Id, Props, "now() - interval '1 microsecond'", Context);
        {error, _} ->
            ok
    end.

%% @doc A page was inserted, updated or deleted.
-spec rsc_update_done(#rsc_update_done{}, z:context()) -> ok.
rsc_update_done(#rsc_update_done{action = delete, id = Id, pre_props = #{} = Props}, Context) ->
    Saved = z_db:q1(
        "select type = 'D' and version is not distinct from $2::int from backup_revision
         where rsc_id = $1 order by created desc, id desc limit 1",
        [Id, version(Props)],
        Context
    ),
    case Saved of
        true ->
            ok;
        _ ->
            Moment = "coalesce((select modified from rsc_gone where id = $1
                and modified > now() - interval '10 minutes'), now())",
            save_deleted(Id, Props, Moment, Context)
    end;
rsc_update_done(#rsc_update_done{action = Action, id = Id, post_props = #{} = Props}, Context) when
    Action =:= insert; Action =:= update
->
    %% A page that was deleted and recovered may have the version that it had before.
    _ = z_db:q(
        "insert into backup_revision (rsc_id, type, version, user_id, user_name, data_type, data)
         select $1::int, 'P', $2::int, $3::int, $4::varchar, 'erlang', $5::bytea
         where not coalesce((
            select type = 'P' and version = $2::int from backup_revision
            where rsc_id = $1::int order by created desc, id desc limit 1), false)",
        [Id, version(Props) | by(Context)] ++ [term_to_binary(Props, [compressed])],
        Context
    ),
    ok;
rsc_update_done(#rsc_update_done{}, _Context) ->
    ok.

%% The last deletion is enough: the page was as it had been recovered in between.
save_deleted(Id, Props, Moment, Context) ->
    Revision = z_db:q1(
        "insert into backup_revision (rsc_id, type, version, user_id, user_name, data_type, data, created)
         values ($1, 'D', $2, $3, $4, 'erlang', $5, " ++ Moment ++ ") returning id",
        [Id, version(Props) | by(Context)] ++ [term_to_binary(Props, [compressed])],
        Context
    ),
    _ = z_db:q(
        "delete from backup_revision where rsc_id = $1 and type = 'D' and id <> $2",
        [Id, Revision],
        Context
    ),
    ok.

version(Props) ->
    case Props of
        #{<<"version">> := Version} when is_integer(Version) -> Version;
        _ -> undefined
    end.

by(Context) ->
    UserId = z_acl:user(Context),
    Name = z_trans:lookup_fallback(m_rsc:p_no_acl(UserId, <<"title">>, Context), Context),
    [UserId, name(Name)].

%% The database counts code points, and has no place for a zero.
name(Name) when is_binary(Name) ->
    case unicode:characters_to_list(Name) of
        Chars when is_list(Chars) ->
            unicode:characters_to_binary(lists:sublist([Char || Char <- Chars, Char > 0], ?LONGEST_NAME));
        _ ->
            undefined
    end;
name(_) ->
    undefined.

%% @doc Writes the last revision of a page again: something was changed after Zotonic told of it.
-spec again(m_rsc:resource_id(), z:context()) -> ok.
again(Id, Context) ->
    {ok, Props} = m_rsc:get_raw(Id, Context),
    _ = z_db:q(
        "update backup_revision set data = $3 where type = 'P' and version = $2 and id = (
            select id from backup_revision where rsc_id = $1 order by created desc, id desc limit 1)",
        [Id, version(Props), term_to_binary(Props, [compressed])],
        Context
    ),
    ok.

%% @doc A connection was made.
-spec edge_insert(#edge_insert{}, z:context()) -> ok.
edge_insert(#edge_insert{subject_id = Subject, predicate = Predicate, object_id = Object, edge_id = Id}, Context) ->
    edge(Subject, Predicate, Object, true, <<"INSERT">>, Id, Context).

%% @doc A connection was broken.
-spec edge_delete(#edge_delete{}, z:context()) -> ok.
edge_delete(#edge_delete{subject_id = Subject, predicate = Predicate, object_id = Object, edge_id = Id}, Context) ->
    edge(Subject, Predicate, Object, false, <<"DELETE">>, Id, Context).

%% Zotonic tells of the oldest hundred changes in its log and then removes them from it.
edge(Subject, Predicate, Object, IsInsert, Operation, EdgeId, Context) ->
    _ = z_db:q(
        "insert into backup_edge_log (subject_id, predicate, object_id, is_insert, timestamp, seq, edge_id)
         select $1::int, $2::varchar, $3::int, $4::boolean, coalesce(l.logged, now()), l.seq, $5::int
         from (select) one left join (
            select logged, seq from (select edge_id, op, logged, seq from edge_log order by id limit 100) told
            where edge_id = $5::int and op = $6 limit 1) l on true",
        [Subject, predicate(Predicate), Object, IsInsert, EdgeId, Operation],
        Context
    ),
    ok.

predicate(undefined) -> undefined;
predicate(Name) when is_atom(Name) -> atom_to_binary(Name, utf8);
predicate(Name) when is_binary(Name) -> Name.

%% @doc A medium was added to a page, changed, or taken away. This is told by a process of its own: maybe
%% after what came next.
-spec media_update_done(#media_update_done{}, z:context()) -> ok.
media_update_done(#media_update_done{action = delete, id = Id, pre_props = #{<<"created">> := _} = Medium}, Context) ->
    put_medium(Id, Medium, gone, Context);
media_update_done(#media_update_done{action = Action, id = Id, post_props = #{<<"created">> := _} = Medium}, Context) when
    Action =:= insert; Action =:= update
->
    put_medium(Id, Medium, Action, Context);
media_update_done(#media_update_done{}, _Context) ->
    ok.

%% @doc Makes sure that the medium of a page is in the log, also one that was added before there was a log.
-spec medium_check(m_rsc:resource_id(), z:context()) -> ok.
medium_check(Id, Context) ->
    case m_media:get(Id, Context) of
        #{<<"created">> := _} = Medium -> put_medium(Id, Medium, insert, Context);
        _ -> ok
    end.

%% A medium has no id. It is told from others by the second at which it was made and by its file.
put_medium(Id, #{<<"created">> := Created} = Medium, What, Context) ->
    Rows = z_db:q(
        "select id, medium_deleted is null, " ++ backup_revision_medium:payload("props") ++
            " from backup_medium_log
         where rsc_id = $1 and date_trunc('second', medium_created) = $2 order by medium_created",
        [Id, Created],
        Context
    ),
    case find_row(Rows, file(Medium), What) of
        {ok, Row} ->
            _ = z_db:q(
                "update backup_medium_log set props = $2, medium_deleted = coalesce(medium_deleted, " ++
                    gone(What) ++ ") where id = $1",
                [Row, ?DB_PROPS(Medium)],
                Context
            ),
            ok;
        false ->
            insert_medium(Id, Medium, What, Context)
    end.

find_row(Rows, File, What) ->
    Same = [Row || {Row, _, Data} <- Rows, backup_revision_medium:file(Data) =:= File],
    Open = [Row || {Row, true, _} <- Rows],
    case {Same, Open} of
        {[Row | _], _} -> {ok, Row};
        %% An update may have another file, as a video that was converted.
        {[], [Row]} when What =:= update -> {ok, Row};
        _ -> false
    end.

file(Medium) ->
    maps:get(<<"filename">>, Medium, undefined).

gone(gone) -> "now()";
gone(_) -> "null".

%% The time of the second one in a second is a microsecond later: it must have one of its own.
insert_medium(Id, #{<<"created">> := Created} = Medium, What, Context) ->
    Row = z_db:q1(
        "insert into backup_medium_log (rsc_id, props, medium_created, medium_deleted)
         select $1::int, $2::bytea, coalesce(max(l.medium_created) + interval '1 microsecond', $3::timestamptz),
            case when exists (
                select from medium m where m.id = $1 and date_trunc('second', m.created) = $3::timestamptz
                  and m.filename is not distinct from $4::varchar) then null else now() end
         from backup_medium_log l
         where l.rsc_id = $1 and date_trunc('second', l.medium_created) = $3::timestamptz
         on conflict do nothing returning id",
        [Id, ?DB_PROPS(Medium), Created, file(Medium)],
        Context
    ),
    case Row of
        undefined ->
            %% Another process took the time.
            put_medium(Id, Medium, What, Context);
        _ ->
            %% A page has one medium at a time.
            _ = z_db:q(
                "update backup_medium_log o set medium_deleted = greatest(o.medium_created, n.medium_created)
                 from backup_medium_log n
                 where n.id = $2 and n.medium_deleted is null
                   and o.rsc_id = $1 and o.medium_deleted is null and o.id <> $2",
                [Id, Row],
                Context
            ),
            ok
    end.
