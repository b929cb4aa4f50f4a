%% @doc What changed, for people: the right rows, and nothing that a browser would run.
-module(backup_revision_diff_tests).

-include_lib("eunit/include/eunit.hrl").
-include_lib("zotonic_core/include/zotonic.hrl").

rows(Old, New) ->
    [{Key, Language, Html} || #{key := Key, language := Language, html := Html} <-
        backup_revision_diff:rows(Old, New, host:context(testsite, ""))].

words_test() ->
    ?assertEqual([{<<"title">>, undefined, <<"the <del>quick</del><ins>slow</ins> fox">>}],
                 rows(#{<<"title">> => <<"the quick fox">>}, #{<<"title">> => <<"the slow fox">>})),
    ?assertEqual([], rows(#{<<"title">> => <<"same">>}, #{<<"title">> => <<"same">>})),
    ?assertEqual([], rows(#{<<"a">> => undefined, <<"b">> => [], <<"version">> => 1}, #{<<"c">> => <<>>, <<"version">> => 2})),
    ?assertEqual([{<<"a">>, undefined, <<"<ins>x</ins>">>}], rows(#{}, #{<<"a">> => <<"x">>})),
    ?assertEqual([{<<"a">>, undefined, <<"<del>x</del>">>}], rows(#{<<"a">> => <<"x">>}, #{})).

%% What the database fills in is no change.
defaults_test() ->
    Full = #{<<"title">> => <<"a">>, <<"is_featured">> => false, <<"visible_for">> => 0, <<"created">> => {{2026, 1, 2}, {3, 4, 5}},
             <<"publication_end">> => {{9999, 6, 1}, {0, 0, 0}}},
    ?assertEqual([], rows(#{<<"title">> => <<"a">>}, Full)),
    ?assertEqual([], rows(Full, #{<<"title">> => <<"a">>})),
    ?assertMatch([{<<"is_featured">>, _, _}], rows(Full#{<<"is_featured">> => true}, Full)).

languages_test() ->
    Old = #{<<"title">> => #trans{tr = [{en, <<"one">>}, {nl, <<"een">>}, {<<"xx">>, <<"x">>}]}},
    New = #{<<"title">> => #trans{tr = [{en, <<"two">>}, {nl, <<"een">>}, {de, <<"neu">>}]}},
    ?assertEqual(
        [
            {<<"title">>, <<"de">>, <<"<ins>neu</ins>">>},
            {<<"title">>, <<"en">>, <<"<del>one</del><ins>two</ins>">>},
            {<<"title">>, <<"xx">>, <<"<del>x</del>">>}
        ],
        rows(Old, New)
    ).

%% A text that is given a language is the same text.
first_translation_test() ->
    Plain = #{<<"title">> => <<"one two">>, <<"language">> => [nl]},
    In = fun(Texts) -> #{<<"title">> => #trans{tr = Texts}, <<"language">> => [nl]} end,
    ?assertEqual([], rows(Plain, In([{nl, <<"one two">>}]))),
    ?assertEqual([], rows(In([{nl, <<"one two">>}]), Plain)),
    ?assertEqual(
        [
            {<<"title">>, <<"en">>, <<"<ins>new</ins>">>},
            {<<"title">>, <<"nl">>, <<"one <del>two</del><ins>three</ins>">>}
        ],
        rows(Plain, In([{en, <<"new">>}, {nl, <<"one three">>}]))
    ),
    ?assertEqual([], rows(maps:remove(<<"language">>, Plain), maps:remove(<<"language">>, In([{en, <<"one two">>}])))).

kinds_test() ->
    Old = #{
        <<"date_start">> => {{2026, 1, 2}, {3, 4, 5}}, <<"language">> => [en, nl], <<"n">> => 1, <<"is_x">> => true,
        <<"blocks">> => [#{<<"type">> => <<"text">>, <<"name">> => <<"b">>, <<"body">> => #trans{tr = [{en, <<"old">>}]}}],
        <<"odd">> => [a | b], <<"tuple">> => {1, "x"}, <<"string">> => "text", <<"map">> => #{<<"k">> => 1.5}
    },
    Shown = maps:from_list([{Key, Html} || #{key := Key, html := Html} <- backup_revision_diff:values(Old, host:context(testsite, ""))]),
    ?assertEqual(<<"2026-01-02 03:04:05">>, maps:get(<<"date_start">>, Shown)),
    ?assertEqual(<<"en, nl">>, maps:get(<<"language">>, Shown)),
    ?assertEqual(<<"body: en: old<br>name: b<br>type: text">>, maps:get(<<"blocks">>, Shown)),
    ?assertEqual(<<"text">>, maps:get(<<"string">>, Shown)),
    ?assertEqual(<<"k: 1.5">>, maps:get(<<"map">>, Shown)),
    ?assertEqual(<<"a, b">>, maps:get(<<"odd">>, Shown)),
    [Changed] = rows(Old, Old#{<<"blocks">> => [#{<<"type">> => <<"text">>, <<"name">> => <<"b">>, <<"body">> => #trans{tr = [{en, <<"new">>}]}}]}),
    ?assertMatch({<<"blocks">>, undefined, <<"body: en: <del>old</del><ins>new</ins><br>", _/binary>>}, Changed).

%% A page as Zotonic stores it: its paragraphs on lines of their own, characters as they are meant.
html_test() ->
    ?assertEqual([{<<"body">>, undefined, <<"&lt;p&gt;A &amp; <del>B</del><ins>C</ins>&lt;/p&gt;<br>&lt;p&gt;x&lt;/p&gt;">>}],
                 rows(#{<<"body">> => <<"<p>A &amp; B</p><p>x</p>">>}, #{<<"body">> => <<"<p>A &amp; C</p><p>x</p>">>})).

long_test() ->
    Same = binary:copy(<<"word ">>, 1000),
    [{_, _, Html}] = rows(#{<<"body">> => <<Same/binary, "old ", Same/binary>>}, #{<<"body">> => <<Same/binary, "new ", Same/binary>>}),
    ?assert(byte_size(Html) < 500),
    ?assertNotEqual(nomatch, string:find(Html, <<"<del>old</del><ins>new</ins>">>)).

%% Whatever texts, names and languages hold: the only elements are ours.
safe_test() ->
    Evil = [
        <<"<script>alert(1)</script>">>, <<"\" onmouseover=\"x">>, <<"'><img src=x onerror=y>">>, <<"&lt;script&gt;">>,
        <<"&amp;lt;b&gt;">>, <<"</ins></del><b>">>, <<255, 254, "<b>">>, <<"&#60;b&#62;">>, <<"a\0<b>">>
    ],
    [
        begin
            Values = [Text, #trans{tr = [{en, Text}, {Text, Text}]}, [Text], #{Text => Text}, {Text}, [#{<<"a">> => Text}], binary_to_list(Text)],
            [safe(Key, Html) || V <- Values, W <- [undefined, <<"x">>], Key <- [<<"title">>, <<"body">>, <<"x_id">>],
                               {_, _, Html} <- rows(#{Key => V}, #{Key => W}) ++ rows(#{Key => W}, #{Key => V})],
            [safe(Text, Html) || V <- Values, #{html := Html} <- backup_revision_diff:values(#{Text => V}, host:context(testsite, ""))],
            safe(Text, backup_revision_text:html(Text, host:context(testsite, "")))
        end
     || Text <- Evil
    ].

safe(What, Html) ->
    Ours = lists:foldl(fun(Tag, H) -> string:replace(H, Tag, "", all) end, Html, ["<ins>", "</ins>", "<del>", "</del>", "<br>"]),
    ?assertEqual({What, nomatch}, {What, re:run(iolist_to_binary(Ours), "[<>\"']", [{capture, none}])}),
    ?assert(is_list(unicode:characters_to_list(Html))).
