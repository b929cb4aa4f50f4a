%% @doc What templates print of backups: a name can be anything that somebody put into the list.
-module(backup_template_tests).

-export([priv_dir/0]).

-include_lib("eunit/include/eunit.hrl").

%% What is printed as it is: numbers, words and sizes of our own.
-define(HARMLESS, [
    <<"backup.duration_seconds">>, <<"backup.size_text">>, <<"job.done">>, <<"job.percent">>, <<"job.total">>,
    <<"job.rate">>, <<"m.site.site|default:m.site.sitename">>,
    <<"m.backup_revision.retention_months">>, <<"m.backup_revision.user_retention_days">>,
    <<"m.backup_revision.deleted_user_retention_days">>
]).

%% Names, problems and messages come from a list that anybody may have written, or from programs.
what_is_printed_is_escaped_test() ->
    Printed = [
        {filename:basename(Path), Value}
     || Path <- templates_of_backups(),
        {ok, Template} <- [file:read_file(Path)],
        Value <- printed(Template)
    ],
    ?assert(length(Printed) > 30),
    ?assertEqual([], [Found || {_, Value} = Found <- Printed, not is_harmless(Value)]).

%% `{{ value }}', and `name=value' of a text with something in it.
printed(Template) ->
    Trans = lists:append(matches("{% *trans +\"[^\"]*\"(.*?)%}", Template)),
    lists:append(matches("{{ *(.*?) *}}", Template))
        ++ lists:append([lists:append(matches("[a-z]+=((?:[^ \"]|\"[^\"]*\")+)", Args)) || Args <- Trans]).

is_harmless(<<"#", _/binary>>) ->
    true;
is_harmless(Value) ->
    lists:member(Value, ?HARMLESS)
        orelse re:run(Value, "^[a-z_.]+\\|escape(\\|linebreaksbr)?$") =/= nomatch
        orelse re:run(Value, "^[a-z_.]+\\|date:_\"[^\"]*\"$") =/= nomatch.

%% Those of revisions print what was made of escaped text, see there.
templates_of_backups() ->
    [
        Path
     || Path <- filelib:wildcard(filename:join(priv_dir(), "templates/*.tpl")),
        string:find(filename:basename(Path), "revi") =:= nomatch,
        string:find(filename:basename(Path), "revert") =:= nomatch,
        filename:basename(Path) =/= "admin_backup_deleted.tpl"
    ].

matches(Pattern, Text) ->
    case re:run(Text, Pattern, [global, dotall, {capture, all_but_first, binary}]) of
        {match, Found} -> Found;
        nomatch -> []
    end.

%% An id becomes part of a script: it is made of a number, never of a name.
ids_are_numbers_test() ->
    {match, Ids} = re:run(list_template(), "#[a-z]+\\.([a-z_.]+)", [global, {capture, all_but_first, binary}]),
    ?assertEqual([<<"nr">>], lists:usort(lists:append(Ids))),
    ?assertMatch({match, _}, re:run(list_template(), "with forloop\\.counter as nr ")).

urls_are_encoded_test() ->
    {match, Hrefs} = re:run(list_template(), "href=\"([^\"]*)\"", [global, {capture, all_but_first, binary}]),
    ?assertEqual(2, length(Hrefs)),
    %% On a real Zotonic a filter around the tag does nothing to what it prints.
    lists:foreach(
        fun([Href]) ->
            ?assertMatch({match, _}, re:run(Href, "^{% url backup_download star=backup\\.[a-z_]+\\|urlencode %}$"))
        end,
        Hrefs
    ).

%% Who was logged off, by a restore, is told so and not that there are no backups.
who_may_not_see_backups_is_told_so_test() ->
    Guard = <<"{% if m.acl.is_allowed.use.mod_backup %}">>,
    List = list_template(),
    ?assertMatch({match, _}, re:run(List, <<Guard/binary, ".*There are no backups yet.*{% endif %}\\s*$">>, [dotall])),
    Alerts = template("_admin_backup_alerts.tpl"),
    ?assertMatch(
        {match, _},
        re:run(
            Alerts,
            <<"{% if not m.acl.is_allowed.use.mod_backup %}.*Log on again.*{% else %}.*No nightly backups">>,
            [dotall]
        )
    ).

%% Media files are then in the store, and in no backup: nothing on the page promises them, and there are not two
%% choices for one thing.
with_a_file_store_nothing_promises_media_test() ->
    Warning = <<"The media files are in a file store and are not backed up here">>,
    Promises = fun(Seen) ->
        [Promise || Promise <- [<<"media files">>, <<"and the files">>, <<"everything">>],
                    string:find(string:replace(Seen, Warning, ""), Promise) =/= nomatch]
    end,
    Names = ["admin_backup", "_admin_backup_start", "_admin_backup_settings", "_admin_backup_settings_offsite"],
    Pages = [template(Name ++ ".tpl") || Name <- Names],
    ?assertEqual([[], [], [], []], [Promises(seen(true, Page)) || Page <- Pages]),
    ?assertEqual(
        [[<<"and the files">>], [<<"everything">>], [<<"media files">>], [<<"media files">>]],
        [Promises(seen(false, Page)) || Page <- Pages]
    ),
    Settings = template("_admin_backup_settings.tpl"),
    ?assertEqual([[<<"0">>], [<<"1">>]], choices(seen(true, Settings))),
    ?assertEqual([[<<"0">>], [<<"1">>], [<<"2">>]], choices(seen(false, Settings))).

%% A wire of an id that is not on the page would be an error in the browser.
choices(Seen) ->
    Radios = lists:sort(matches("id=\"backup_daily([0-9])\" name", Seen)),
    ?assertEqual(Radios, lists:sort(matches("{% wire id=\"backup_daily([0-9])\"", Seen))),
    Radios.

%% A template as it is with, or without, a file store. Other conditions stay in it, with all their branches.
seen(HasStore, Template) ->
    seen(HasStore, re:split(Template, "({% (?:if|elseif|else|endif)\\b.*?%})", []), [], []).

seen(_HasStore, [], [], Seen) ->
    iolist_to_binary(lists:reverse(Seen));
seen(HasStore, [<<"{% if m.backup.is_filestore_enabled %}">> | Rest], Open, Seen) ->
    seen(HasStore, Rest, [HasStore | Open], Seen);
seen(HasStore, [<<"{% if not m.backup.is_filestore_enabled %}">> | Rest], Open, Seen) ->
    seen(HasStore, Rest, [not HasStore | Open], Seen);
seen(HasStore, [<<"{% if ", _/binary>> | Rest], Open, Seen) ->
    seen(HasStore, Rest, [other | Open], Seen);
seen(HasStore, [<<"{% else", _/binary>> | Rest], [Shown | Open], Seen) when is_boolean(Shown) ->
    seen(HasStore, Rest, [not Shown | Open], Seen);
seen(HasStore, [<<"{% else", _/binary>> | Rest], Open, Seen) ->
    seen(HasStore, Rest, Open, Seen);
seen(HasStore, [<<"{% endif %}">> | Rest], [_ | Open], Seen) ->
    seen(HasStore, Rest, Open, Seen);
seen(HasStore, [Text | Rest], Open, Seen) ->
    case lists:member(false, Open) of
        true -> seen(HasStore, Rest, Open, Seen);
        false -> seen(HasStore, Rest, Open, [Text | Seen])
    end.

list_template() ->
    template("_admin_backup_list.tpl").

template(Name) ->
    {ok, Template} = file:read_file(filename:join([priv_dir(), "templates", Name])),
    Template.

%% @doc The folder of the templates. Beside that of the sources, wherever it was compiled.
-spec priv_dir() -> file:filename().
priv_dir() ->
    filename:join(filename:dirname(filename:dirname(code:which(mod_backup))), "priv").
