%% @doc A stand-in for the module of the same name in Zotonic.
-module(m_rsc).

-export([exists/2, rid/2, get/2, get_raw/2, p/3, p_no_acl/3, is_a/3, delete/2]).
-export_type([resource_id/0]).

-include("../include/zotonic.hrl").

-type resource_id() :: pos_integer().

-spec exists(term(), z:context()) -> boolean().
exists(Id, Context) when is_integer(Id) ->
    z_db:q1("select count(*) from rsc where id = $1", [Id], Context) =:= 1;
exists(_, _) ->
    false.

-spec rid(term(), z:context()) -> resource_id() | undefined.
rid(Id, _Context) when is_integer(Id) -> Id;
rid(Text, _Context) when is_binary(Text) ->
    case string:to_integer(Text) of
        {Id, <<>>} -> Id;
        _ -> undefined
    end;
rid(_, _) -> undefined.

%% The user may not see what is secret.
-spec get(resource_id(), z:context()) -> map() | undefined.
get(Id, Context) ->
    case get_raw(Id, Context) of
        {ok, Props} -> maps:remove(<<"secret">>, Props);
        {error, _} -> undefined
    end.

-spec get_raw(resource_id(), z:context()) -> {ok, map()} | {error, enoent}.
get_raw(Id, Context) ->
    case z_db:qmap_row("select * from rsc where id = $1", [Id], Context) of
        {ok, #{<<"props">> := Props} = Row} when is_map(Props) -> {ok, maps:merge(Props, maps:remove(<<"props">>, Row))};
        {ok, Row} -> {ok, maps:remove(<<"props">>, Row)};
        {error, _} = Error -> Error
    end.

-spec p(resource_id() | undefined, binary(), z:context()) -> term().
p(Id, Key, Context) ->
    case is_integer(Id) andalso get_raw(Id, Context) of
        {ok, Props} -> maps:get(Key, Props, undefined);
        _ -> undefined
    end.

-spec p_no_acl(resource_id() | undefined, binary(), z:context()) -> term().
p_no_acl(Id, Key, Context) ->
    p(Id, Key, Context).

%% Pages up to 9 are categories; there are no others.
-spec is_a(resource_id(), atom(), z:context()) -> boolean().
is_a(Id, category, Context) ->
    Id < 10 andalso exists(Id, Context);
is_a(_, _, _) ->
    false.

%% As in Zotonic: the page is noted to be gone, then goes in a transaction that others are told of in the
%% middle; and of its connections they are told some time later.
-spec delete(resource_id(), z:context()) -> ok.
delete(Id, Context) ->
    Props = get(Id, Context),
    IsUser = z_db:q1("select count(*) from identity where rsc_id = $1 and type = 'username_pw'", [Id], Context) > 0,
    _ = z_db:q(
        "insert into rsc_gone (id, is_personal_data) values ($1, $2)"
        " on conflict (id) do update set is_personal_data = excluded.is_personal_data",
        [Id, IsUser], Context),
    z_db:transaction(
        fun(C) ->
            ok = mod_backup:observe_rsc_delete(#rsc_delete{id = Id, is_a = []}, C),
            1 = z_db:q("delete from rsc where id = $1", [Id], C)
        end,
        Context
    ),
    Done = #rsc_update_done{action = delete, id = Id, pre_props = Props, post_props = #{}},
    mod_backup:observe_rsc_update_done(Done, Context).
