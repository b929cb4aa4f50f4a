%% @doc Of the stand-in only: a database with the tables of a site, as far as they are used.
%% `scripts/with-postgres' provides the server.
-module(host_db).

-export([start/1, stop/0, age/2]).

-include("../include/zotonic.hrl").

%% @doc Makes a schema with the tables of a site, and uses it.
-spec start(string()) -> ok.
start(Schema) ->
    {ok, _} = application:ensure_all_started(stringprep),
    Options = [
        {host, os:getenv("PGHOST")}, {port, list_to_integer(os:getenv("PGPORT"))}, {user, os:getenv("PGUSER")},
        {password, os:getenv("PGPASSWORD")}, {database, os:getenv("PGDATABASE")}, {as_binary, true}
    ],
    {ok, Db} = pgsql:connect(Options),
    host:set(db, Db),
    host:set(database, [
        {dbhost, os:getenv("PGHOST")}, {dbport, list_to_integer(os:getenv("PGPORT"))},
        {dbuser, os:getenv("PGUSER")}, {dbpassword, os:getenv("PGPASSWORD")},
        {dbdatabase, os:getenv("PGDATABASE")}, {dbschema, Schema}
    ]),
    Quoted = ["\"", Schema, "\""],
    0 = z_db:q(lists:flatten(["drop schema if exists ", Quoted, " cascade"]), context()),
    [] = z_db:q(lists:flatten(["create schema ", Quoted]), context()),
    0 = z_db:q(lists:flatten(["set search_path to ", Quoted]), context()),
    0 = z_db:q("set timezone to 'UTC'", context()),
    lists:foreach(fun(Statement) -> [] = z_db:q(Statement, context()) end, tables()).

-spec stop() -> ok.
stop() ->
    _ = pgsql:terminate(host:get(db, undefined)),
    ok.

%% @doc Lets so much time pass: all that happened is longer ago.
-spec age(string(), z:context()) -> ok.
age(Interval, Context) ->
    lists:foreach(
        fun({Table, Columns}) ->
            %% By way of long ago: rows that are exactly as far apart would meet.
            [move(Table, Columns, By, Context) || By <- ["- interval '300000 days'", "+ interval '300000 days' - interval '" ++ Interval ++ "'"]]
        end,
        [
            {"backup_revision", ["created"]}, {"backup_edge_log", ["timestamp"]}, {"edge_log", ["logged"]},
            {"backup_medium_log", ["medium_created", "medium_deleted"]}, {"medium", ["created"]},
            {"rsc_gone", ["modified"]}
        ]
    ).

move(Table, Columns, By, Context) ->
    Moved = [[Column, " = ", Column, " ", By] || Column <- Columns],
    _ = z_db:q(lists:flatten(["update ", Table, " set ", lists:join(", ", Moved)]), Context).

context() ->
    #context{site = testsite, files_dir = ""}.

tables() ->
    [
        "create table rsc (id serial primary key, version int not null default 1, creator_id int references rsc on delete set null,
            modifier_id int references rsc on delete set null, category_id int, content_group_id int, is_published boolean not null default false, name varchar(80) unique, props bytea)",
        "create table rsc_gone (id bigint primary key, new_id bigint, is_personal_data boolean not null default false,
            modified timestamptz not null default now())",
        "create table identity (id serial primary key, rsc_id int not null references rsc on delete cascade,
            type varchar(32) not null)",
        "create table medium (id int primary key references rsc on delete cascade, filename varchar(400),
            props bytea, created timestamptz not null default now())",
        "create table edge (id serial primary key, subject_id int not null references rsc on delete cascade,
            predicate_id int not null references rsc on delete cascade,
            object_id int not null references rsc on delete cascade, seq int not null default 1000000,
            unique (subject_id, predicate_id, object_id))",
        "create table edge_log (id bigserial primary key, op varchar(6), edge_id int, subject_id int,
            predicate varchar(80), object_id int, seq int, logged timestamptz not null default now())",
        "create function edge_update() returns trigger language plpgsql as $$ begin
            if tg_op <> 'DELETE' then old := new; end if;
            insert into edge_log (op, edge_id, subject_id, predicate, object_id, seq)
            select tg_op, old.id, old.subject_id, name, old.object_id, old.seq from rsc where id = old.predicate_id;
            return null;
         end $$",
        "create trigger edge_update after insert or update or delete on edge for each row execute function edge_update()"
    ].
