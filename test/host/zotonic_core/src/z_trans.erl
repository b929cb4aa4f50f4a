%% @doc A stand-in for the module of the same name in Zotonic.
-module(z_trans).

-export([trans/2, lookup_fallback/2]).

-include("../include/zotonic.hrl").

-spec trans(binary() | string(), z:context()) -> binary().
trans(Text, _Context) ->
    unicode:characters_to_binary(Text).

-spec lookup_fallback(term(), z:context()) -> term().
lookup_fallback(undefined, _Context) -> <<>>;
lookup_fallback(#trans{tr = Texts}, _Context) ->
    case lists:keyfind(en, 1, Texts) of
        {_, Text} -> Text;
        false when Texts =:= [] -> <<>>;
        false -> element(2, hd(Texts))
    end;
lookup_fallback(Text, _Context) -> Text.
