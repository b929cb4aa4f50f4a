%% @doc A stand-in for the module of the same name in Zotonic.
-module(z_ids).

-export([password/0]).

-spec password() -> binary().
password() ->
    base64:encode(rand:bytes(18)).
