%% @doc A stand-in for the module of the same name in Zotonic.
-module(z_convert).

-export([to_bool/1, to_binary/1]).

-spec to_bool(term()) -> boolean().
to_bool(Value) ->
    lists:member(Value, [true, 1, <<"1">>, <<"true">>, <<"on">>, "1", "true"]).

-spec to_binary(term()) -> binary().
to_binary(undefined) -> <<>>;
to_binary(Atom) when is_atom(Atom) -> atom_to_binary(Atom, utf8);
to_binary(Number) when is_integer(Number) -> integer_to_binary(Number);
to_binary(Text) -> unicode:characters_to_binary(Text).
