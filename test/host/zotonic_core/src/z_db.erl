%% @doc A stand-in for the module of the same name in Zotonic, on the database that `host_db' made.
-module(z_db).

-export([q/2, q/3, q/4, q1/2, q1/3, qmap/3, qmap_row/3, transaction/2, flush/1]).

-define(MAGIC, 16#01, 16#32, 16#6a, 16#3a).

-spec q(string(), z:context()) -> list() | non_neg_integer().
q("select key, value from config" ++ _, _Context) ->
    %% The settings are where the stand-in for m_config has them.
    host:get(is_database_down, false) andalso throw({error, econnrefused}),
    [{<<>>, <<>>} | [{atom_to_binary(Key), Value} || {{mod_backup, Key}, Value} <- maps:to_list(host:get(config, #{}))]];
q(Sql, Context) ->
    q(Sql, [], Context).

-spec q(string(), list(), z:context()) -> list() | non_neg_integer().
q(Sql, Parameters, _Context) ->
    case run(Sql, Parameters) of
        {rows, _, Rows} -> [list_to_tuple(Row) || Row <- Rows];
        {count, Count} -> Count
    end.

-spec q(string(), list(), z:context(), timeout()) -> list() | non_neg_integer().
q(Sql, Parameters, Context, _Timeout) ->
    q(Sql, Parameters, Context).

-spec q1(string(), z:context()) -> term().
q1(Sql, Context) ->
    q1(Sql, [], Context).

-spec q1(string(), list(), z:context()) -> term().
q1(Sql, Parameters, Context) ->
    case q(Sql, Parameters, Context) of
        [Row | _] -> element(1, Row);
        _ -> undefined
    end.

-spec qmap(string(), list(), z:context()) -> {ok, [map()]}.
qmap(Sql, Parameters, _Context) ->
    {rows, Names, Rows} = run(Sql, Parameters),
    {ok, [maps:from_list(lists:zip(Names, Row)) || Row <- Rows]}.

-spec qmap_row(string(), list(), z:context()) -> {ok, map()} | {error, enoent}.
qmap_row(Sql, Parameters, Context) ->
    case qmap(Sql, Parameters, Context) of
        {ok, [Row | _]} -> {ok, Row};
        {ok, []} -> {error, enoent}
    end.

-spec transaction(fun((z:context()) -> Result), z:context()) -> Result.
transaction(Fun, Context) ->
    0 = q("begin", Context),
    try Fun(Context) of
        Result ->
            0 = q("commit", Context),
            Result
    catch
        Class:Reason:Stack ->
            0 = q("rollback", Context),
            erlang:raise(Class, Reason, Stack)
    end.

-spec flush(z:context()) -> ok.
flush(_Context) ->
    ok.

run(Sql, Parameters) ->
    Query = unicode:characters_to_binary(substituted(Sql, list_to_tuple([literal(P) || P <- Parameters]))),
    case pgsql:squery(host:get(db, undefined), Query) of
        {ok, [{_, Columns, Rows}]} ->
            Names = [element(1, Column) || Column <- Columns],
            Types = [element(4, Column) || Column <- Columns],
            {rows, Names, [lists:zipwith(fun value/2, Types, Row) || Row <- Rows]};
        {ok, [Done]} when is_binary(Done) ->
            case [Word || Word <- string:lexemes(Done, " "), Word =/= <<"0">>] of
                [<<"INSERT">>, Count] -> {count, binary_to_integer(Count)};
                [What, Count] when What =:= <<"UPDATE">>; What =:= <<"DELETE">> -> {count, binary_to_integer(Count)};
                [What | _] when What =:= <<"CREATE">>; What =:= <<"ALTER">>; What =:= <<"DO">> -> {rows, [], []};
                _ -> {count, 0}
            end;
        {ok, [{error, Reason} | _]} ->
            error({sql, proplists:get_value(message, Reason), Query})
    end.

substituted([$$, Digit | Rest], Literals) when Digit >= $1, Digit =< $9 ->
    [element(Digit - $0, Literals) | substituted(Rest, Literals)];
substituted([Char | Rest], Literals) ->
    [Char | substituted(Rest, Literals)];
substituted([], _) ->
    [].

literal(undefined) -> "null";
literal(true) -> "true";
literal(false) -> "false";
literal(Number) when is_integer(Number) -> integer_to_list(Number);
literal({term, Term}) -> bytes(<<?MAGIC, (term_to_binary(Term, [compressed]))/binary>>);
literal({{Y, M, D}, {H, I, S}}) ->
    io_lib:format("'~4..0b-~2..0b-~2..0b ~2..0b:~2..0b:~2..0b+00'", [Y, M, D, H, I, S]);
literal(<<131, _/binary>> = Bytes) -> bytes(Bytes);
literal(Text) when is_binary(Text) -> ["'", binary:replace(Text, <<"'">>, <<"''">>, [global]), "'"].

bytes(Bytes) ->
    ["'\\x", [io_lib:format("~2.16.0b", [Byte]) || <<Byte>> <= Bytes], "'"].

value(_, null) -> undefined;
value(16, <<"t">>) -> true;
value(16, <<"f">>) -> false;
value(Oid, Number) when Oid =:= 20; Oid =:= 21; Oid =:= 23 -> binary_to_integer(Number);
value(17, <<"\\x", Hex/binary>>) ->
    case << <<(binary_to_integer(Byte, 16))>> || <<Byte:2/binary>> <= Hex >> of
        %% Zotonic decodes what it made, whatever it is.
        <<?MAGIC, Term/binary>> -> binary_to_term(Term);
        Bytes -> Bytes
    end;
%% Seconds are whole.
value(1184, <<Y:4/binary, "-", M:2/binary, "-", D:2/binary, " ", H:2/binary, ":", I:2/binary, ":", S:2/binary, _/binary>>) ->
    [Y1, M1, D1, H1, I1, S1] = [binary_to_integer(Part) || Part <- [Y, M, D, H, I, S]],
    {{Y1, M1, D1}, {H1, I1, S1}};
%% One character.
value(1042, <<Char>>) -> Char;
value(_, Text) -> Text.
