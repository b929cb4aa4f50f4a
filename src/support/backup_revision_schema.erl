%% @doc The tables of the revision log. Sites have them already, and keep what is in them.
-module(backup_revision_schema).

-export([install/2]).

-include_lib("zotonic_core/include/zotonic.hrl").

%% A log of many years gets its indexes in minutes. In milliseconds.
-define(PATIENCE, 30 * 60 * 1000).

%% @doc Makes what is missing. It can be run at any time, and does nothing where all is there.
-spec install(install | {upgrade, integer()}, z:context()) -> ok.
install(Version, Context) ->
    lists:foreach(fun(Statement) -> [] = z_db:q(Statement, [], Context, ?PATIENCE) end, tables()),
    lists:foreach(fun(Trigger) -> ok = trigger(Trigger, Context) end, triggers()),
    ok = upgrade(Version, Context),
    _ = z_db:flush(Context),
    ok.

tables() ->
    [
        "create table if not exists backup_revision (
            id bigserial primary key,
            type char(1) not null,
            rsc_id integer not null,
            created timestamptz not null default current_timestamp,
            version integer,
            user_id integer,
            user_name varchar(80),
            filename varchar(400),
            note varchar(200),
            data_type varchar(10) not null,
            data bytea not null
        )",
        "create index if not exists backup_revision_id_created on backup_revision (rsc_id, created)",
        "create index if not exists backup_revision_created_deleted_key"
        " on backup_revision (created, type) where type = 'D'",
        "create table if not exists backup_edge_log (
            id bigserial primary key,
            subject_id integer not null,
            predicate varchar(300),
            object_id integer not null,
            is_insert boolean not null default true,
            timestamp timestamptz not null default current_timestamp,
            seq integer,
            edge_id integer
        )",
        %% Zotonic's own module has none of these.
        "alter table backup_edge_log add column if not exists seq integer, add column if not exists edge_id integer",
        "create index if not exists backup_edge_log_subject_id_created_key"
        " on backup_edge_log (subject_id, timestamp)",
        "create index if not exists backup_edge_log_object_id_created_key"
        " on backup_edge_log (object_id, timestamp)",
        "create table if not exists backup_medium_log (
            id bigserial primary key,
            rsc_id integer not null,
            props bytea not null,
            medium_created timestamptz not null,
            medium_deleted timestamptz,
            constraint backup_medium_log_rsc_id_medium_created_key unique (rsc_id, medium_created)
        )",
        %% Whatever deletes a medium, also a page that goes with it: the log has the moment.
        "create or replace function backup_medium_log_delete() returns trigger as $$
        begin
            update backup_medium_log set medium_deleted = now()
            where rsc_id = old.id and medium_deleted is null;
            return null;
        end $$ language plpgsql",
        %% A connection that gets another predicate. Zotonic tells of it without the one that it had.
        "create or replace function backup_edge_log_update() returns trigger as $$
        begin
            insert into backup_edge_log (subject_id, predicate, object_id, is_insert, seq, edge_id) values
                (old.subject_id, (select name from rsc where id = old.predicate_id), old.object_id, false, old.seq, old.id),
                (new.subject_id, (select name from rsc where id = new.predicate_id), new.object_id, true, new.seq, new.id);
            return null;
        end $$ language plpgsql"
    ].

triggers() ->
    [
        {"backup_medium_log_delete_trigger", "medium", "after delete", "", "backup_medium_log_delete"},
        {"backup_edge_log_update_trigger", "edge", "after update of subject_id, predicate_id, object_id",
            "when ((old.subject_id, old.predicate_id, old.object_id)"
            " is distinct from (new.subject_id, new.predicate_id, new.object_id))",
            "backup_edge_log_update"}
    ].

%% A trigger cannot be made "if not exists", and only PostgreSQL 14 and newer can replace one.
trigger({Name, Table, Event, Condition, Function}, Context) ->
    case z_db:q1(
        "select count(*) from pg_trigger where tgname = '" ++ Name ++ "' and tgrelid = '" ++ Table ++ "'::regclass",
        Context
    ) of
        0 ->
            [] = z_db:q(
                "create trigger " ++ Name ++ " " ++ Event ++ " on " ++ Table ++ " for each row " ++ Condition ++
                    " execute procedure " ++ Function ++ "()",
                Context
            ),
            ok;
        _ ->
            ok
    end.

%% Before version 4 a deletion was not a revision, and Zotonic's own module gave it the time at which it was
%% noted down, not the time of the deletion: some of the connections that went with the page could be gone
%% "before" it.
upgrade(install, _Context) ->
    ok;
upgrade({upgrade, _}, Context) ->
    _ = z_db:q(
        "insert into backup_revision (type, rsc_id, created, version, user_id, user_name, data_type, data)
         select 'D', r.rsc_id, g.modified, r.version, r.user_id, r.user_name, r.data_type, r.data
         from rsc_gone g
         join backup_revision r on r.id = (
            select id from backup_revision l where l.rsc_id = g.id order by l.created desc, l.id desc limit 1)
         where not exists (select from backup_revision d where d.rsc_id = g.id and d.type = 'D')
           and not exists (select from rsc where rsc.id = g.id)",
        [],
        Context,
        ?PATIENCE
    ),
    _ = z_db:q(
        "update backup_revision r set created = g.modified from rsc_gone g
         where r.type = 'D' and r.rsc_id = g.id
           and g.modified < r.created and g.modified > r.created - interval '1 minute'",
        [],
        Context,
        ?PATIENCE
    ),
    ok.
