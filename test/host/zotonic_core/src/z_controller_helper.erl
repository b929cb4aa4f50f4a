%% @doc A stand-in for the module of the same name in Zotonic.
-module(z_controller_helper).

-export([is_authorized/2]).

-spec is_authorized([{atom(), atom()}], z:context()) -> {boolean(), z:context()}.
is_authorized(Acls, Context) ->
    {lists:all(fun({Action, Object}) -> z_acl:is_allowed(Action, Object, Context) end, Acls), Context}.
