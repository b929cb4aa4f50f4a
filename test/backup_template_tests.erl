%% @doc What templates print of backups: a name can be anything that somebody put into the list.
-module(backup_template_tests).

-include_lib("eunit/include/eunit.hrl").

%% An id becomes part of a script: it is made of a number, never of a name.
ids_are_numbers_test() ->
    {match, Ids} = re:run(list_template(), "#[a-z]+\\.([a-z_.]+)", [global, {capture, all_but_first, binary}]),
    ?assertEqual([<<"nr">>], lists:usort(lists:append(Ids))),
    ?assertMatch({match, _}, re:run(list_template(), "with forloop\\.counter as nr ")).

urls_are_escaped_test() ->
    {match, Hrefs} = re:run(list_template(), "href=\"([^\"]*)\"", [global, {capture, all_but_first, binary}]),
    ?assertEqual(2, length(Hrefs)),
    lists:foreach(
        fun([Href]) -> ?assertMatch({match, _}, re:run(Href, "^{% filter escape %}{% url .*{% endfilter %}$")) end,
        Hrefs
    ).

list_template() ->
    {ok, Template} = file:read_file(filename:join(priv_dir(), "templates/_admin_backup_list.tpl")),
    Template.

%% Beside the folder of the sources, wherever it was compiled.
priv_dir() ->
    filename:join(filename:dirname(filename:dirname(code:which(mod_backup))), "priv").
