%% @doc A stand-in for the module of the same name in Zotonic.
-module(z_acl).

-export([sudo/1, is_allowed/3, rsc_editable/2, is_admin_editable/1, is_read_only/1, user/1, flush/1]).

-include("../include/zotonic.hrl").

-spec sudo(z:context()) -> z:context().
sudo(Context) ->
    Context#context{acl = admin}.

-spec is_allowed(atom(), term(), z:context()) -> boolean().
is_allowed(_Action, _Object, #context{acl = admin}) -> true;
is_allowed(use, Module, #context{acl = Modules}) -> lists:member(Module, Modules);
is_allowed(_, _, _) -> false.

-spec rsc_editable(integer(), z:context()) -> boolean().
rsc_editable(_Id, #context{acl = admin}) -> true;
rsc_editable(Id, #context{acl = Acl}) -> lists:member({edit, Id}, Acl).

-spec is_admin_editable(z:context()) -> boolean().
is_admin_editable(#context{acl = Acl}) ->
    Acl =:= admin.

-spec is_read_only(z:context()) -> boolean().
is_read_only(_Context) ->
    host:get(is_read_only, false).

-spec user(z:context()) -> integer() | undefined.
user(_Context) ->
    host:get(user, undefined).

-spec flush(integer()) -> ok.
flush(_Id) ->
    ok.
