%% @doc A stand-in for the module of the same name in Zotonic.
-module(z_config).

-export([get/2]).

-spec get(atom(), term()) -> term().
get(Key, Default) ->
    host:get(Key, Default).
