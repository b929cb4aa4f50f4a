%% @doc Reads Erlang terms that were stored long ago, or that come from outside.
%%
%% No new atoms, no functions, processes, ports or references, and no more bytes than there may be. Nothing
%% either that takes hours to be shown: numbers of thousands of digits, or lists in lists without end. An atom
%% that this node does not know, as the name of a property that nothing uses any more, is read as a binary:
%% the rest of the term is as good as it was.
-module(backup_revision_term).

-export([decode/1, decode/2, props/1, props/2, to_props/1]).

%% Of a stored term, uncompressed.
-define(LARGEST, 256 * 1024 * 1024).
%% Bytes of an integer: to write one in decimals takes the square of its length.
-define(LARGEST_INTEGER, 512).
%% Of what is in each other. The blocks and menus of a page are not as deep.
-define(DEEPEST, 100).

%% @equiv decode(Data, 268435456)
-spec decode(term()) -> {ok, term()} | {error, unreadable}.
decode(Data) ->
    decode(Data, ?LARGEST).

%% @doc Reads a term of at most so many bytes in the external term format, when it is uncompressed.
-spec decode(term(), pos_integer()) -> {ok, term()} | {error, unreadable}.
decode(Data, Largest) when is_binary(Data), byte_size(Data) =< Largest ->
    try
        {ok, read_all(uncompressed(Data, Largest))}
    catch
        throw:unreadable -> {error, unreadable}
    end;
decode(_, _) ->
    {error, unreadable}.

%% @doc Reads a map or a list of properties, as a map with names in binaries.
-spec props(term()) -> {ok, map()} | {error, unreadable}.
props(Data) ->
    props(Data, ?LARGEST).

-spec props(term(), pos_integer()) -> {ok, map()} | {error, unreadable}.
props(Data, Largest) ->
    case decode(Data, Largest) of
        {ok, Term} -> to_props(Term);
        {error, _} = Error -> Error
    end.

%% @doc A map or a list of properties, as a map with names in binaries. Lists of properties in it, as in
%% the blocks of old pages, become maps too.
-spec to_props(term()) -> {ok, map()} | {error, unreadable}.
to_props(Term) ->
    case to_map(Term) of
        Map when is_map(Map) -> {ok, Map};
        _ -> {error, unreadable}
    end.

to_map(Map) when is_map(Map) ->
    maps:from_list([{name(Key), value(Value)} || {Key, Value} <- maps:to_list(Map)]);
to_map([]) ->
    #{};
to_map(List) ->
    case is_proplist(List) of
        true -> maps:from_list([property(Property) || Property <- lists:reverse(List)]);
        false -> List
    end.

property({Key, Value}) -> {name(Key), value(Value)};
property(Key) -> {name(Key), true}.

value(Map) when is_map(Map) ->
    to_map(Map);
value([_ | _] = List) ->
    case is_proplist(List) of
        true -> to_map(List);
        false -> values(List)
    end;
value(Value) ->
    Value.

%% An improper list stays one.
values([Item | Rest]) -> [value(Item) | values(Rest)];
values([]) -> [];
values(Rest) -> value(Rest).

%% Only pairs whose first is a name: a list of names alone is a list of languages or categories.
is_proplist([{Key, _} | Rest]) when is_atom(Key); is_binary(Key) ->
    is_properties(Rest);
is_proplist(_) ->
    false.

is_properties([{Key, _} | Rest]) when is_atom(Key); is_binary(Key) -> is_properties(Rest);
is_properties([Key | Rest]) when is_atom(Key) -> is_properties(Rest);
is_properties(Rest) -> Rest =:= [].

name(Key) when is_atom(Key) -> atom_to_binary(Key, utf8);
name(Key) -> Key.

%% The external term format

uncompressed(<<131, 80, Size:32, Packed/binary>>, Largest) when Size =< Largest ->
    Z = zlib:open(),
    try
        ok = zlib:inflateInit(Z),
        Data = inflated(zlib:safeInflate(Z, Packed), Z, Size, []),
        byte_size(Data) =:= Size orelse throw(unreadable),
        Data
    catch
        error:_ -> throw(unreadable)
    after
        zlib:close(Z)
    end;
uncompressed(<<131, Tag, _/binary>> = Data, _) when Tag =/= 80 ->
    binary:part(Data, 1, byte_size(Data) - 1);
uncompressed(_, _) ->
    throw(unreadable).

%% What says that it is small and is not stops here.
inflated({Status, Output}, Z, Left, Before) ->
    case Left - iolist_size(Output) of
        Less when Less < 0 -> throw(unreadable);
        _ when Status =:= finished -> iolist_to_binary([Before, Output]);
        Less -> inflated(zlib:safeInflate(Z, []), Z, Less, [Before, Output])
    end;
inflated(_, _, _, _) ->
    throw(unreadable).

read_all(Data) ->
    Size = byte_size(Data) + 1,
    try binary_to_term(<<131, Data/binary>>, [safe, used]) of
        {Term, Size} -> plain(Term);
        {_, _} -> throw(unreadable)
    catch
        %% Also where a number is larger than this node can have.
        error:_ ->
            case read(Data) of
                {Term, <<>>} -> plain(Term);
                _ -> throw(unreadable)
            end
    end.

%% `safe' lets functions and processes pass.
plain(Term) ->
    is_plain(Term, ?DEEPEST, 1 bsl (8 * ?LARGEST_INTEGER)) orelse throw(unreadable),
    Term.

is_plain(_, 0, _) -> false;
is_plain([Head | Tail], Depth, Most) -> is_plain(Head, Depth - 1, Most) andalso is_plain(Tail, Depth, Most);
is_plain(Tuple, Depth, Most) when is_tuple(Tuple) -> is_plain(tuple_to_list(Tuple), Depth, Most);
is_plain(Map, Depth, Most) when is_map(Map) -> is_plain(maps:to_list(Map), Depth, Most);
is_plain(Term, _, Most) when is_integer(Term) -> Term < Most andalso Term > -Most;
is_plain(Term, _, _) -> is_atom(Term) orelse is_float(Term) orelse is_binary(Term) orelse Term =:= [].

read(<<97, Number, Rest/binary>>) -> {Number, Rest};
read(<<98, Number:32/signed, Rest/binary>>) -> {Number, Rest};
read(<<70, Number:64/float, Rest/binary>>) -> {Number, Rest};
read(<<99, Text:31/binary, Rest/binary>>) -> {old_float(Text), Rest};
read(<<100, Size:16, Name:Size/binary, Rest/binary>>) -> {atom(Name, latin1), Rest};
read(<<115, Size, Name:Size/binary, Rest/binary>>) -> {atom(Name, latin1), Rest};
read(<<118, Size:16, Name:Size/binary, Rest/binary>>) -> {atom(Name, utf8), Rest};
read(<<119, Size, Name:Size/binary, Rest/binary>>) -> {atom(Name, utf8), Rest};
read(<<104, Size, Rest/binary>>) -> tuple(Size, Rest);
read(<<105, Size:32, Rest/binary>>) -> tuple(Size, Rest);
read(<<106, Rest/binary>>) -> {[], Rest};
read(<<107, Size:16, Bytes:Size/binary, Rest/binary>>) -> {binary_to_list(Bytes), Rest};
read(<<108, Size:32, Rest/binary>>) ->
    {Items, Rest1} = items(Size, Rest, []),
    {Tail, Rest2} = read(Rest1),
    {lists:reverse(Items, Tail), Rest2};
read(<<109, Size:32, Bytes:Size/binary, Rest/binary>>) -> {Bytes, Rest};
read(<<110, Size, Sign, Digits:Size/binary, Rest/binary>>) -> {big(Sign, Digits), Rest};
read(<<111, Size:32, Sign, Digits:Size/binary, Rest/binary>>) when Size =< ?LARGEST_INTEGER ->
    {big(Sign, Digits), Rest};
read(<<116, Size:32, Rest/binary>>) ->
    {Items, Rest1} = items(Size * 2, Rest, []),
    {maps:from_list(pairs(Items)), Rest1};
read(_) ->
    throw(unreadable).

items(0, Rest, Items) ->
    {Items, Rest};
items(Count, Rest, Items) ->
    {Item, Rest1} = read(Rest),
    items(Count - 1, Rest1, [Item | Items]).

tuple(Size, Rest) ->
    {Items, Rest1} = items(Size, Rest, []),
    {list_to_tuple(lists:reverse(Items)), Rest1}.

%% They come in reverse.
pairs([Value, Key | Items]) -> [{Key, Value} | pairs(Items)];
pairs([]) -> [].

big(0, Digits) -> binary:decode_unsigned(Digits, little);
big(1, Digits) -> -binary:decode_unsigned(Digits, little);
big(_, _) -> throw(unreadable).

old_float(Text) ->
    try
        list_to_float(string:trim(binary_to_list(hd(binary:split(Text, <<0>>)))))
    catch
        error:_ -> throw(unreadable)
    end.

atom(Name, Encoding) ->
    try
        binary_to_existing_atom(Name, Encoding)
    catch
        error:_ ->
            case unicode:characters_to_binary(Name, Encoding, utf8) of
                Text when is_binary(Text) -> Text;
                _ -> throw(unreadable)
            end
    end.
