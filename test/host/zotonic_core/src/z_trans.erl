%% @doc A stand-in for the module of the same name in Zotonic.
-module(z_trans).

-export([trans/2]).

-spec trans(binary() | string(), z:context()) -> binary().
trans(Text, _Context) ->
    unicode:characters_to_binary(Text).
