%% @doc A site in a folder of its own, for tests; and ways to wait that end as soon as they can.
-module(test_site).

-export([dir/2, new/1, new/2, pg_dump/3, dump/1, files/1, flush/0, until/1, is_alive/1, write/2]).

%% @doc An empty folder for a test case.
-spec dir(atom(), [{atom(), term()}]) -> file:filename().
dir(Name, Config) ->
    Dir = filename:join(proplists:get_value(priv_dir, Config), Name),
    ok = filelib:ensure_dir(filename:join(Dir, "x")),
    Dir.

%% @doc A request for a site with a bit of everything.
-spec new(file:filename()) -> map().
new(Dir) ->
    new(Dir, #{}).

-spec new(file:filename(), map()) -> map().
new(Dir, More) ->
    Media = filename:join(Dir, "media"),
    write(filename:join(Media, "2026/08/photo.jpg"), crypto:strong_rand_bytes(100000)),
    write(filename:join(Media, "notes.txt"), lists:duplicate(5000, "words that compress. ")),
    write(filename:join(Media, unicode:characters_to_binary("naïve ☃ name.txt")), <<"snow">>),
    write(filename:join(Media, "empty"), <<>>),
    write(filename:join(Dir, "priv/zotonic_site.config"), <<"[{site, test}].\n">>),
    write(filename:join(Dir, "priv/config.d/more.config"), <<"[{more, true}].\n">>),
    write(filename:join(Dir, "security/key.pem"), <<"a private key\n">>),
    maps:merge(
        #{
            site => <<"testsite">>,
            backup_dir => filename:join(Dir, "backup"),
            media_dir => Media,
            config_files => [
                filename:join(Dir, "priv/zotonic_site.config"),
                filename:join(Dir, "priv/config.d/more.config")
            ],
            security_dir => filename:join(Dir, "security")
        },
        More
    ).

%% @doc A database whose `pg_dump' is this shell script. `$DIR' is a folder that it may use.
-spec pg_dump(file:filename(), string(), iodata()) -> map().
pg_dump(Dir, Name, Script) ->
    Path = filename:join(Dir, Name),
    write(Path, ["#!/bin/sh\nDIR='", Dir, "'\n", Script]),
    ok = file:change_mode(Path, 8#755),
    #{user => "nobody", dbname => "nothing", pg_dump => Path}.

%% @doc Shell commands that print a whole dump, with other commands among the rows of its table.
-spec dump(iodata()) -> iodata().
dump(Middle) ->
    [
        "printf -- '--\\n-- PostgreSQL database dump\\n--\\n\\nCOPY public.t FROM stdin;\\n'\n",
        Middle,
        "\nprintf -- '\\n\\\\.\\n--\\n-- PostgreSQL database dump complete\\n--\\n\\n'\n"
    ].

%% @doc The files of a folder with their contents, without the lock, which has no content. A folder that
%% is not there has none.
-spec files(map() | file:filename()) -> #{file:filename() => binary() | directory}.
files(#{backup_dir := Dir}) ->
    files(Dir);
files(Dir) ->
    case file:list_dir_all(Dir) of
        {ok, Names} ->
            maps:from_list([{Name, Content} || Name <- Names,
                            Name =/= ".zbackup.lock",
                            Content <- [content(filename:join(Dir, Name))],
                            %% It may just have gone.
                            Content =/= gone]);
        {error, enoent} ->
            #{}
    end.

content(Path) ->
    case file:read_file(Path) of
        {ok, Bytes} -> Bytes;
        {error, eisdir} -> directory;
        {error, enoent} -> gone
    end.

%% @doc All that is in the mailbox.
-spec flush() -> [term()].
flush() ->
    receive
        Message -> [Message | flush()]
    after 0 -> []
    end.

%% @doc Looks again and again whether something has become true, of what sends no message.
-spec until(fun(() -> boolean())) -> ok.
until(Fun) ->
    until(Fun, erlang:monotonic_time(millisecond) + 60000).

until(Fun, Deadline) ->
    case Fun() of
        true ->
            ok;
        false ->
            erlang:monotonic_time(millisecond) < Deadline orelse error(it_never_became_true),
            receive after 10 -> until(Fun, Deadline) end
    end.

%% @doc Whether a process of the operating system is there, by the file that its id was written to.
-spec is_alive(file:filename()) -> boolean().
is_alive(PidFile) ->
    {ok, Pid} = file:read_file(PidFile),
    %% A zombie is dead.
    case file:read_file(filename:join(["/proc", string:trim(Pid), "stat"])) of
        {ok, Stat} -> re:run(Stat, "\\) [ZX] ") =:= nomatch;
        {error, _} -> false
    end.

-spec write(file:filename_all(), iodata()) -> ok.
write(Path, Bytes) ->
    ok = filelib:ensure_dir(Path),
    ok = file:write_file(Path, Bytes).
