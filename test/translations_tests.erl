%% @doc Texts of the pages and mails, and their translations.
-module(translations_tests).

-include_lib("eunit/include/eunit.hrl").

the_template_has_every_text_test() ->
    {ok, Pot} = file:read_file(file("template/zotonic_mod_backup.pot")),
    %% When it has not: make pot
    ?assertEqual(translations:pot(root()), Pot).

texts_are_found_wherever_they_are_test() ->
    Texts = translations:texts(root()),
    ?assertEqual([], [
        <<"Backups">>, <<"Back up everything">>, <<"The backup of {date} failed.">>, <<"Deleted pages">>,
        <<"It is tried again every hour, and you get a message when it works. The backups that were there "
          "before are untouched.">>
    ] -- maps:keys(Texts)),
    #{<<"Revisions of">> := Paths} = Texts,
    ?assertEqual(["priv/templates/admin_backup_revision.tpl"], Paths).

dutch_is_whole_test() ->
    Dutch = translations:parse(file("nl.zotonic_mod_backup.po")),
    Texts = maps:keys(translations:texts(root())),
    ?assertEqual([], [Text || Text <- Texts, maps:get(Text, Dutch, <<>>) =:= <<>>]),
    ?assertEqual([], maps:keys(Dutch) -- Texts).

%% What is filled in, and HTML.
placeholders_are_kept_test() ->
    Dutch = translations:parse(file("nl.zotonic_mod_backup.po")),
    ?assertEqual([], [
        {Text, Translation}
     || {Text, Translation} <- maps:to_list(Dutch),
        placeholders(Text) =/= placeholders(Translation)
    ]).

placeholders(Text) ->
    case re:run(Text, "{[a-z]+}|<[^>]*>|mod_backup[a-z_.]*", [global, {capture, first, binary}]) of
        {match, Found} -> lists:sort(Found);
        nomatch -> []
    end.

file(Name) ->
    filename:join([backup_template_tests:priv_dir(), "translations", Name]).

root() ->
    filename:dirname(filename:dirname(proplists:get_value(source, ?MODULE:module_info(compile)))).
