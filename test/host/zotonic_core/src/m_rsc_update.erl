%% @doc A stand-in for the module of the same name in Zotonic.
-module(m_rsc_update).

-export([insert/3, update/4]).

-include("../include/zotonic.hrl").

-define(PROTECTED, [<<"id">>, <<"version">>, <<"props">>]).

-spec insert(map(), list(), z:context()) -> {ok, m_rsc:resource_id()} | {error, term()}.
insert(Props, Options, Context) ->
    Id = z_db:q1("insert into rsc (version, creator_id, category_id) values (0, $1, 1) returning id",
                 [z_acl:user(Context)], Context),
    update(insert, Id, Props, Options, Context).

-spec update(m_rsc:resource_id(), map(), list(), z:context()) -> {ok, m_rsc:resource_id()} | {error, term()}.
update(Id, Props, Options, Context) ->
    _ = case m_rsc:exists(Id, Context) of
        true -> ok;
        false ->
            true = proplists:get_bool(is_import, Options),
            1 = z_db:q("insert into rsc (id, creator_id, category_id) values ($1, $2, 1)", [Id, z_acl:user(Context)], Context)
    end,
    case z_acl:rsc_editable(Id, Context) orelse z_acl:is_allowed(insert, rsc, Context) of
        true -> update(update, Id, Props, Options, Context);
        false -> {error, eacces}
    end.

update(Action, Id, Props, Options, Context) ->
    {ok, Raw} = m_rsc:get_raw(Id, Context),
    Name = maps:get(<<"name">>, Props, maps:get(<<"name">>, Raw)),
    case z_db:q1("select count(*) from rsc where name = $1 and id <> $2", [Name, Id], Context) of
        0 -> save(Action, Id, Raw, Props, Name, Options, Context);
        _ -> {error, duplicate_name}
    end.

save(Action, Id, Raw, Props, Name, Options, Context) ->
    Normal = case proplists:get_bool(is_import, Options) of
        true -> #{};
        false -> #{<<"modified">> => calendar:universal_time(), <<"modifier_id">> => z_acl:user(Context)}
    end,
    New = maps:merge(maps:merge(Raw, maps:without(?PROTECTED, Props)), Normal),
    Kept = maps:filter(fun(Key, Value) -> Value =/= undefined orelse maps:is_key(Key, columns()) end, New),
    Creator = case z_acl:is_admin_editable(Context) of
        true -> maps:get(<<"creator_id">>, New);
        false -> maps:get(<<"creator_id">>, Raw)
    end,
    host:get(is_crash, false) andalso error(crash),
    1 = z_db:q(
        "update rsc set version = version + 1, name = $2, creator_id = $3, props = $4, is_published = $5, category_id = $6,"
        " modifier_id = $7 where id = $1",
        [Id, Name, Creator, {term, maps:without(maps:keys(columns()), Kept)},
         maps:get(<<"is_published">>, New) =:= true, maps:get(<<"category_id">>, New), maps:get(<<"modifier_id">>, New)],
        Context),
    {ok, Saved} = m_rsc:get_raw(Id, Context),
    Done = #rsc_update_done{action = Action, id = Id, pre_props = Raw, post_props = Saved},
    ok = mod_backup:observe_rsc_update_done(Done, Context),
    {ok, Id}.

columns() ->
    #{<<"id">> => 1, <<"version">> => 1, <<"content_group_id">> => 1, <<"is_published">> => 1, <<"creator_id">> => 1, <<"modifier_id">> => 1, <<"category_id">> => 1, <<"name">> => 1}.
