%% @doc Requests as people write them, with strings, made into what the native library reads: binaries.
%%
%% Nothing is refused here. What cannot be a text is left as it is, for the native library to name.
-module(zbackup_request).

-export([with_binaries/1, binaries/1, text/1]).

%% @doc A request with a binary for each text in it.
-spec with_binaries(map()) -> map().
with_binaries(Request) ->
    maps:map(fun(Key, Value) -> value(name(Key), Value) end, Request).

%% @doc A list of texts, as binaries. One text is taken for a list of one.
-spec binaries(term()) -> term().
binaries([]) ->
    [];
binaries(Texts) when is_list(Texts), length(Texts) > 0 ->
    case is_string(Texts) of
        true -> [text(Texts)];
        false -> [text(Text) || Text <- Texts]
    end;
binaries(Text) when is_binary(Text) ->
    [Text];
binaries(Other) ->
    Other.

%% The names of the fields whose values are not just texts.
name(Key) when Key =:= config_files; Key =:= <<"config_files">> -> config_files;
name(Key) when Key =:= database; Key =:= <<"database">> -> database;
name(Key) when Key =:= only; Key =:= <<"only">> -> only;
name(Key) when Key =:= day; Key =:= <<"day">> -> day;
name(Key) when Key =:= names; Key =:= <<"names">> -> texts;
name(Key) when Key =:= user_identity_types; Key =:= <<"user_identity_types">> -> texts;
name(_) -> other.

value(config_files, Paths) when is_list(Paths), length(Paths) >= 0 ->
    [text(Path) || Path <- Paths];
value(texts, Texts) ->
    binaries(Texts);
value(only, Pieces) when is_list(Pieces), length(Pieces) >= 0 ->
    [piece(Piece) || Piece <- Pieces];
value(database, Database) when is_map(Database) ->
    %% An empty password is how a configuration says that there is none.
    maps:filter(
        fun(Key, Value) -> Value =/= <<>> orelse not lists:member(Key, [password, <<"password">>]) end,
        with_binaries(Database)
    );
value(day, {Year, Month, Day} = Date) when is_integer(Year), is_integer(Month), is_integer(Day) ->
    case calendar:valid_date(Date) andalso Year =< 9999 of
        true -> iolist_to_binary(io_lib:format("~4..0b-~2..0b-~2..0b", [Year, Month, Day]));
        false -> Date
    end;
value(_, Map) when is_map(Map) ->
    with_binaries(Map);
value(_, Value) ->
    text(Value).

piece(Piece) when is_atom(Piece) -> atom_to_binary(Piece);
piece(Piece) -> text(Piece).

%% @doc A text as a binary.
-spec text(term()) -> term().
text(Value) ->
    case is_string(Value) of
        true ->
            case unicode:characters_to_binary(Value) of
                Text when is_binary(Text) -> Text;
                _ -> Value
            end;
        false ->
            Value
    end.

is_string(Value) ->
    is_list(Value) andalso is_flat(Value).

is_flat([Char | Rest]) when is_integer(Char), Char >= 0 -> is_flat(Rest);
is_flat(Rest) -> Rest =:= [].
