%% @doc A stand-in for the module of the same name in Zotonic.
-module(z_trans).

-export([trans/2, lookup_fallback/2]).

-include("../include/zotonic.hrl").

-spec trans(binary() | string(), z:context()) -> binary().
trans(Text, _Context) ->
    unicode:characters_to_binary(Text).

-spec lookup_fallback(term(), z:context()) -> term().
lookup_fallback(undefined, _Context) -> <<>>;
lookup_fallback(#trans{tr = [{_, Text} | _]}, _Context) -> Text;
lookup_fallback(#trans{}, _Context) -> <<>>;
lookup_fallback(Text, _Context) -> Text.
