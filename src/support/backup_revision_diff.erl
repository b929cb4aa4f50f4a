%% @doc What changed between two versions of a page, for a person to read: a row for each property, and for
%% each language of a text, with the words that went and the words that came.
%%
%% What a page holds was written by others. All HTML in a row is made here, of escaped text.
-module(backup_revision_diff).

-export([rows/3, values/2, text/2, escape/1]).

-export_type([row/0]).

-include_lib("zotonic_core/include/zotonic.hrl").

-type row() :: #{key := binary(), language := binary() | undefined, html := binary()}.

%% What always changes, and what Zotonic computes.
-define(HIDDEN, [<<"id">>, <<"version">>, <<"modified">>, <<"modifier_id">>, <<"slug">>, <<"title_slug">>]).
%% What a person looks at first.
-define(FIRST, [
    <<"title">>, <<"short_title">>, <<"subtitle">>, <<"summary">>, <<"body">>, <<"blocks">>, <<"category_id">>,
    <<"is_published">>, <<"publication_start">>, <<"publication_end">>
]).
%% Of a long text that did not change, this many characters are shown before and after a change.
-define(CONTEXT, 120).

%% @doc The properties that differ, of the old and of the new version.
-spec rows(map(), map(), z:context()) -> [row()].
rows(Old, New, Context) ->
    Texts1 = texts(in_languages(without_defaults(Old, New), New), Context),
    Texts2 = texts(in_languages(without_defaults(New, Old), Old), Context),
    [
        row(Place, changed(maps:get(Place, Texts1, <<>>), maps:get(Place, Texts2, <<>>)))
     || Place <- sorted(maps:merge(Texts1, Texts2)),
        maps:get(Place, Texts1, <<>>) =/= maps:get(Place, Texts2, <<>>)
    ].

%% The revision of a page that was just made lacks what the database filled in.
without_defaults(Props, Other) ->
    maps:filter(fun(Key, Value) -> maps:is_key(Key, Other) orelse not is_default(Key, Value) end, Props).

%% A text without a language, where the other version has it in languages: it is in the language of the page.
in_languages(Props, Other) ->
    Languages = case Props of
        #{<<"language">> := Known} when length(Known) > 0 -> Known;
        _ -> []
    end,
    maps:map(
        fun(Key, Value) ->
            case Other of
                #{Key := #trans{tr = [{First, _} | _] = Texts}} when is_binary(Value), length(Texts) > 0 ->
                    Same = [Language || Language <- Languages, lists:keymember(Language, 1, Texts)],
                    #trans{tr = [{hd(Same ++ [First]), Value}]};
                _ ->
                    Value
            end
        end,
        Props
    ).

is_default(Key, _) when Key =:= <<"created">>; Key =:= <<"creator_id">> -> true;
is_default(_, {{9999, _, _}, _}) -> true;
is_default(_, Value) -> Value =:= false orelse Value =:= 0.

%% @doc All properties of one version.
-spec values(map(), z:context()) -> [row()].
values(Props, Context) ->
    Texts = texts(Props, Context),
    [row(Place, shown(maps:get(Place, Texts))) || Place <- sorted(Texts), maps:get(Place, Texts) =/= <<>>].

row({Key, Language}, Html) ->
    #{key => Key, language => Language, html => iolist_to_binary(Html)}.

sorted(Texts) ->
    Order = fun({Key, Language}) ->
        case lists:splitwith(fun(First) -> First =/= Key end, ?FIRST) of
            {Before, [_ | _]} -> {length(Before), Key, Language};
            {Before, []} -> {length(Before), Key, Language}
        end
    end,
    [Place || {_, Place} <- lists:sort([{Order(Place), Place} || Place <- maps:keys(Texts)])].

%% The texts of a version by name and language.
texts(Props, Context) ->
    maps:from_list(lists:append([property(Key, Value, Context) || {Key, Value} <- maps:to_list(Props), is_shown(Key)])).

is_shown(<<"pivot_", _/binary>>) -> false;
is_shown(<<"computed_", _/binary>>) -> false;
is_shown(Key) -> is_binary(Key) andalso not lists:member(Key, ?HIDDEN).

property(Key, #trans{tr = Texts}, Context) when length(Texts) >= 0 ->
    [{{Key, language(Language)}, text(Text, Context)} || {Language, Text} <- Texts];
property(Key, Id, Context) when is_integer(Id) ->
    case is_id(Key) of
        true -> [{{Key, undefined}, title(Id, Context)}];
        false -> [{{Key, undefined}, text(Id, Context)}]
    end;
property(Key, Value, Context) ->
    [{{Key, undefined}, text(Value, Context)}].

language(Language) when is_atom(Language) -> atom_to_binary(Language, utf8);
language(Language) when is_binary(Language) -> Language;
language(Other) -> term(Other).

is_id(<<"rsc_id">>) -> true;
is_id(Key) -> binary:longest_common_suffix([Key, <<"_id">>]) =:= 3.

title(Id, Context) ->
    Title = z_trans:lookup_fallback(m_rsc:p(Id, <<"title">>, Context), Context),
    case is_binary(Title) andalso text(Title, Context) of
        Text when is_binary(Text), Text =/= <<>> -> <<Text/binary, " (", (integer_to_binary(Id))/binary, ")">>;
        _ -> integer_to_binary(Id)
    end.

%% @doc Any value as plain text. It must be escaped where it goes into HTML.
-spec text(term(), z:context()) -> unicode:unicode_binary().
text(undefined, _Context) ->
    <<>>;
text(Text, _Context) when is_binary(Text) ->
    readable(unicode(Text));
text(Atom, _Context) when is_atom(Atom) ->
    atom_to_binary(Atom, utf8);
text(Number, _Context) when is_number(Number) ->
    term(Number);
text(#trans{tr = Texts}, Context) when length(Texts) >= 0 ->
    lines([[language(Language), ": ", text(Text, Context)] || {Language, Text} <- Texts]);
text({{Year, Month, Day}, {Hour, Minute, Second}}, _Context) when
    is_integer(Year), is_integer(Month), is_integer(Day), is_integer(Hour), is_integer(Minute), is_number(Second)
->
    Time = [Year, Month, Day, Hour, Minute, trunc(Second)],
    iolist_to_binary(io_lib:format("~4..0b-~2..0b-~2..0b ~2..0b:~2..0b:~2..0b", Time));
text(Map, Context) when is_map(Map) ->
    lines([[name(Key), ": ", text(Value, Context)] || {Key, Value} <- lists:sort(maps:to_list(Map))]);
text([], _Context) ->
    <<>>;
text([_ | _] = List, Context) ->
    case is_map(hd(List)) of
        %% As the blocks of a page.
        true -> iolist_to_binary(lists:join("\n\n", each(List, Context)));
        false -> list(List, Context)
    end;
text(Other, _Context) ->
    term(Other).

list(List, Context) ->
    case is_string(List) andalso unicode:characters_to_binary(List) of
        Text when is_binary(Text) -> Text;
        _ -> iolist_to_binary(lists:join(", ", each(List, Context)))
    end.

is_string([Char | Rest]) when is_integer(Char), Char >= 32 -> is_string(Rest);
is_string(Rest) -> Rest =:= [].

%% An improper list ends as well.
each([Item | Rest], Context) -> [text(Item, Context) | each(Rest, Context)];
each([], _Context) -> [];
each(Rest, Context) -> [text(Rest, Context)].

lines(Lines) ->
    iolist_to_binary(lists:join("\n", Lines)).

name(Key) when is_binary(Key) -> unicode(Key);
name(Key) when is_atom(Key) -> atom_to_binary(Key, utf8);
name(Key) -> term(Key).

term(Term) ->
    unicode(unicode:characters_to_binary(io_lib:format("~tp", [Term]))).

%% Old texts may be anything.
unicode(Text) ->
    case unicode:characters_to_binary(Text, utf8, utf8) of
        Text -> Text;
        _ -> unicode:characters_to_binary(Text, latin1, utf8)
    end.

%% Zotonic keeps text as HTML. Its elements are shown, each paragraph on a line of its own, and its characters
%% as what they stand for. Everything is escaped again at the end.
readable(Text) ->
    Lines = re:replace(Text, "(</(p|div|h[1-6]|li|ul|ol|tr|table|blockquote)>|<br ?/?>)[\r\n]*", "\\1\n",
                       [global, caseless, {return, binary}]),
    Unescaped = lists:foldl(
        fun({From, To}, T) -> binary:replace(T, From, To, [global]) end,
        Lines,
        [{<<"&lt;">>, <<"<">>}, {<<"&gt;">>, <<">">>}, {<<"&quot;">>, <<"\"">>}, {<<"&#39;">>, <<"'">>},
         {<<"&nbsp;">>, <<" "/utf8>>}, {<<"&amp;">>, <<"&">>}]
    ),
    string:trim(Unescaped).

%% HTML

changed(Old, New) ->
    case zbackup:diff(Old, New) of
        {ok, Pieces} ->
            Last = length(Pieces),
            [piece(Piece, At =:= 1, At =:= Last) || {At, Piece} <- lists:enumerate(Pieces)];
        {error, _, _} ->
            [piece({delete, Old}, true, false), piece({insert, New}, false, true)]
    end.

piece({equal, Text}, IsFirst, IsLast) -> shown(shortened(Text, IsFirst, IsLast));
piece({delete, Text}, _, _) -> ["<del>", shown(Text), "</del>"];
piece({insert, Text}, _, _) -> ["<ins>", shown(Text), "</ins>"].

shortened(Text, IsFirst, IsLast) ->
    Length = string:length(Text),
    case Length > 3 * ?CONTEXT of
        true ->
            Before = case IsFirst of true -> []; false -> string:slice(Text, 0, ?CONTEXT) end,
            After = case IsLast of true -> []; false -> string:slice(Text, Length - ?CONTEXT) end,
            unicode:characters_to_binary([Before, " … ", After]);
        false ->
            Text
    end.

shown(Text) ->
    binary:replace(escape(Text), <<"\n">>, <<"<br>">>, [global]).

%% @doc Text that can stand anywhere in HTML.
-spec escape(binary()) -> binary().
escape(Text) ->
    << <<(escaped(Char))/binary>> || <<Char>> <= Text >>.

escaped($<) -> <<"&lt;">>;
escaped($>) -> <<"&gt;">>;
escaped($&) -> <<"&amp;">>;
escaped($") -> <<"&quot;">>;
escaped($') -> <<"&#39;">>;
escaped(Char) -> <<Char>>.
