%% @doc What a person at a shell gets to see, on a terminal and elsewhere.
-module(zbackup_shell_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-export([all/0, suite/0, init_per_testcase/2]).
-export([
    help_names_what_there_is/1,
    backup_list_and_verify/1,
    a_path_will_do/1,
    terminal_has_one_line/1,
    lines_come_seldom/1,
    what_went_wrong_is_told/1,
    names_cannot_command_the_terminal/1
]).

suite() ->
    [{timetrap, {minutes, 2}}].

all() ->
    [Name || {Name, 1} <- ?MODULE:module_info(exports), Name =/= module_info].

init_per_testcase(Name, Config) ->
    [{dir, test_site:dir(Name, Config)} | Config].

help_names_what_there_is(_Config) ->
    {ok, Text} = shown(lines, fun zbackup:help/0),
    [has(Text, Function) || Function <- ["shell_backup", "shell_list", "shell_verify", "zbackup:await"]].

backup_list_and_verify(Config) ->
    Site = test_site:new(?config(dir, Config), #{encryption => #{password => "secret"}}),
    {ok, None} = shown(lines, fun() -> zbackup:shell_list(Site#{backup_dir := ?config(dir, Config)}) end),
    has(None, "no backups yet"),
    {ok, #{backups := []}} = zbackup:list(#{backup_dir => ?config(dir, Config)}),

    {ok, Made} = shown(lines, fun() -> zbackup:shell_backup(Site) end),
    {ok, #{backups := [#{name := Name, files := #{file := File}}]}} = zbackup:list(Site),
    [has(Made, Word) || Word <- [Name, File, "encrypted", "configuration", "files", " kB", "made in"]],

    {ok, Listed} = shown(lines, fun() -> zbackup:shell_list(Site) end),
    [has(Listed, Word) || Word <- ["name", Name, "yes", "configuration, files", " kB"]],

    {ok, Proven} = shown(lines, fun() -> zbackup:shell_verify(Site) end),
    [has(Proven, Word) || Word <- [[Name, ": proven"], File, "authentication"]],
    {ok, Proven1} = shown(lines, fun() -> zbackup:shell_verify(Site, [Name]) end),
    has(Proven1, [Name, ": proven"]).

a_path_will_do(Config) ->
    Dir = ?config(dir, Config),
    _ = test_site:new(Dir),
    Toml = filename:join(Dir, "site.toml"),
    test_site:write(Toml, "site = \"testsite\"\nbackup_dir = \"backup\"\nmedia_dir = \"media\"\n"),
    [
        {ok, _} = shown(lines, fun() -> Show(Path) end)
     || Path <- [Toml, list_to_binary(Toml)],
        Show <- [fun zbackup:shell_backup/1, fun zbackup:shell_list/1, fun zbackup:shell_verify/1]
    ].

%% The progress is one line, written over itself, and nothing of it stays.
terminal_has_one_line(Config) ->
    {ok, Text} = shown(60, fun() -> zbackup:shell_backup(slow_site(Config)) end),
    [Before, Result] = string:split(Text, "Backup testsite"),
    ?assertEqual(nomatch, string:find(Before, "\n")),
    Lines = string:split(Before, "\r", all),
    ?assert(length(Lines) >= 5),
    ?assert(lists:all(fun(Line) -> string:length(Line) < 60 end, Lines)),
    [_, Blank, ""] = lists:nthtail(length(Lines) - 3, Lines),
    ?assertEqual("", string:trim(Blank)),
    has(Before, "database"),
    has(Result, "made in").

%% Where nobody watches a line being rewritten, a new one comes once a second and for each phase.
lines_come_seldom(Config) ->
    Start = erlang:monotonic_time(millisecond),
    {ok, Text} = shown(lines, fun() -> zbackup:shell_backup(slow_site(Config)) end),
    Seconds = (erlang:monotonic_time(millisecond) - Start) div 1000,
    [Before, _] = string:split(Text, "Backup testsite"),
    ?assertEqual(nomatch, string:find(Before, "\r")),
    Database = [Line || Line <- string:split(Before, "\n", all), string:prefix(Line, "database") =/= nomatch],
    ?assert(length(Database) >= 2, Text),
    ?assert(length(Database) =< Seconds + 1, Text).

%% It talks for two seconds and a half.
slow_site(Config) ->
    Dir = ?config(dir, Config),
    Script = test_site:dump("for i in 1 2 3 4 5; do\n  echo x; sleep 0.5\ndone"),
    test_site:new(Dir, #{database => test_site:pg_dump(Dir, "pg_dump", Script)}).

what_went_wrong_is_told(Config) ->
    Dir = ?config(dir, Config),
    Site = test_site:new(Dir, #{encryption => #{password => "secret"}}),
    {{error, usage, _}, Usage} = shown(lines, fun() -> zbackup:shell_backup(#{site => 1}) end),
    [has(Usage, Word) || Word <- ["Failed (usage)", "site"]],
    {{error, not_found, _}, NotFound} = shown(lines, fun() -> zbackup:shell_verify(Dir ++ "/☃.toml") end),
    [has(NotFound, Word) || Word <- ["Failed (not_found)", "☃.toml"]],
    {{error, usage, _}, _} = shown(lines, fun() -> zbackup:shell_list(an_atom) end),

    {ok, _} = shown(lines, fun() -> zbackup:shell_backup(Site) end),
    {ok, #{backups := [#{files := #{file := File}}]}} = zbackup:list(Site),
    Path = filename:join(maps:get(backup_dir, Site), File),
    Wrong = Site#{encryption := #{password => "not it"}},
    {{error, wrong_password, _}, Refused} = shown(lines, fun() -> zbackup:shell_verify(Wrong) end),
    has(Refused, "NOT PROVEN"),
    {ok, <<Head:1000/binary, _/binary>>} = file:read_file(Path),
    ok = file:write_file(Path, Head),
    {{error, damaged, _}, Damaged} = shown(lines, fun() -> zbackup:shell_verify(Site) end),
    [has(Damaged, Word) || Word <- ["NOT PROVEN", File]],
    {ok, Listed} = shown(lines, fun() -> zbackup:shell_list(Site) end),
    has(Listed, ["missing, or not as long as it should be: ", File]).

names_cannot_command_the_terminal(Config) ->
    #{media_dir := Media} = Site = test_site:new(?config(dir, Config)),
    "" = os:cmd("mkfifo '" ++ unicode:characters_to_list(Media) ++ "/\e[2J☃\n'"),
    {ok, Text} = shown(lines, fun() -> zbackup:shell_backup(Site) end),
    has(Text, "?[2J☃?: "),
    ?assertEqual(nomatch, string:find(Text, "\e")).

has(Text, Word) ->
    ?assertNotEqual({nomatch, Word, Text}, {string:find(Text, Word), Word, Text}).

%% What a function returns, and what it writes to a terminal of so many columns, or to something else.
shown(Columns, Fun) ->
    Self = self(),
    Before = group_leader(),
    Terminal = spawn_link(fun() -> terminal(Columns, Self, []) end),
    group_leader(Terminal, Self),
    try Fun() of
        Result ->
            Terminal ! stop,
            receive {Terminal, Text} -> {Result, Text} end
    after
        group_leader(Before, Self)
    end.

%% Speaks the I/O protocol of Erlang, as far as it is asked.
terminal(Columns, Owner, Written) ->
    receive
        {io_request, From, Ref, {put_chars, unicode, Text}} ->
            From ! {io_reply, Ref, ok},
            terminal(Columns, Owner, [Written, unicode:characters_to_list(Text)]);
        {io_request, From, Ref, {put_chars, unicode, Module, Function, Args}} ->
            From ! {io_reply, Ref, ok},
            terminal(Columns, Owner, [Written, unicode:characters_to_list(apply(Module, Function, Args))]);
        {io_request, From, Ref, {get_geometry, columns}} ->
            From ! {io_reply, Ref, case Columns of lines -> {error, enotsup}; _ -> Columns end},
            terminal(Columns, Owner, Written);
        stop ->
            Owner ! {self(), lists:flatten(Written)}
    end.
