%% @doc The texts that a person may see, as the templates and `src/' have them: `make pot' writes them where
%% Zotonic keeps them, `priv/translations/template/zotonic_mod_backup.pot'.
-module(translations).

-export([texts/1, pot/1, parse/1, write_pot/1]).

%% @doc The texts, each with the files that have it, below the folder of the project.
-spec texts(file:filename()) -> #{unicode:unicode_binary() => [file:filename()]}.
texts(Root) ->
    Found = [
        {Text, Path}
     || {Pattern, Read} <- [{"priv/templates/**/*.tpl", fun in_template/1}, {"src/**/*.erl", fun in_source/1}],
        Path <- filelib:wildcard(Pattern, Root),
        {ok, Content} <- [file:read_file(filename:join(Root, Path))],
        Text <- Read(Content)
    ],
    lists:foldl(
        fun({Text, Path}, Acc) ->
            maps:update_with(Text, fun(Paths) -> lists:usort([Path | Paths]) end, [Path], Acc)
        end,
        #{},
        Found
    ).

%% `{_ text _}', `_"text"' and the text of a `trans' tag.
in_template(Content) ->
    Patterns = ["{_\\s*(.*?)\\s*_}", "_\"((?:[^\"\\\\]|\\\\.)*)\"", "{% *trans +\"((?:[^\"\\\\]|\\\\.)*)\""],
    [
        Text
     || Pattern <- Patterns,
        {match, Matches} <- [re:run(Content, Pattern, [global, dotall, {capture, all_but_first, binary}])],
        [Text] <- Matches
    ].

%% The argument of `?__', a string or a binary of one.
in_source(Content) ->
    {ok, Tokens, _} = erl_scan:string(unicode:characters_to_list(Content)),
    in_tokens(Tokens).

in_tokens([{'?', _}, {var, _, '__'}, {'(', _}, {'<<', _} | Rest]) -> literal(Rest);
in_tokens([{'?', _}, {var, _, '__'}, {'(', _} | Rest]) -> literal(Rest);
in_tokens([_ | Rest]) -> in_tokens(Rest);
in_tokens([]) -> [].

literal(Tokens) ->
    {Strings, Rest} = lists:splitwith(fun(Token) -> element(1, Token) =:= string end, Tokens),
    [unicode:characters_to_binary([Text || {string, _, Text} <- Strings]) | in_tokens(Rest)].

%% @doc The template of translations. Without the lines of the files, which change every day.
-spec pot(file:filename()) -> unicode:unicode_binary().
pot(Root) ->
    Header = <<
        "msgid \"\"\n"
        "msgstr \"\"\n"
        "\"Project-Id-Version: zotonic_mod_backup\\n\"\n"
        "\"MIME-Version: 1.0\\n\"\n"
        "\"Content-Type: text/plain; charset=UTF-8\\n\"\n"
        "\"Content-Transfer-Encoding: 8bit\\n\"\n"
    >>,
    Entries = [
        ["\n", [["#: ", Path, "\n"] || Path <- Paths], "msgid \"", escaped(Text), "\"\nmsgstr \"\"\n"]
     || {Text, Paths} <- lists:sort(maps:to_list(texts(Root)))
    ],
    unicode:characters_to_binary([Header | Entries]).

escaped(Text) ->
    string:replace(string:replace(Text, "\\", "\\\\", all), "\"", "\\\"", all).

%% @doc The translations of a file, in which each text is on one line.
-spec parse(file:filename()) -> #{unicode:unicode_binary() => unicode:unicode_binary()}.
parse(File) ->
    {ok, Content} = file:read_file(File),
    {match, Matches} = re:run(
        Content, "^msgid \"(.+)\"\nmsgstr \"(.*)\"$", [global, multiline, {capture, all_but_first, binary}]
    ),
    maps:from_list([{unescaped(Text), unescaped(Translation)} || [Text, Translation] <- Matches]).

unescaped(Text) ->
    re:replace(Text, "\\\\(.)", "\\1", [global, {return, binary}]).

%% @doc Writes the template of translations.
-spec write_pot(file:filename()) -> ok.
write_pot(Root) ->
    Path = filename:join(Root, "priv/translations/template/zotonic_mod_backup.pot"),
    ok = filelib:ensure_dir(Path),
    ok = file:write_file(Path, pot(Root)).
