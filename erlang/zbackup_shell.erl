%% @doc What a person at a shell sees of backups.
%%
%% Texts of our own are plain ASCII, since not every terminal has more.
-module(zbackup_shell).

-export([help/0, backup/1, list/1, verify/2, restore/3]).
-export([push/1, pull/1]).

%% How many of many similar lines a person wants to see.
-define(MOST_LINES, 20).
%% Where lines cannot be rewritten: milliseconds between two of them.
-define(QUIET, 1000).

-type site() :: zbackup:request() | zbackup:text().

%% How progress is shown: on a terminal of so many columns, or else when a line was last written.
-record(view, {
    columns :: pos_integer() | plain,
    width = 0 :: non_neg_integer(),
    phase :: zbackup:phase() | undefined,
    told = 0 :: integer()
}).

-spec help() -> ok.
help() ->
    io:put_chars([
        "Backups of a site, from the shell. SITE is the path of a site.toml, or a map:\n"
        "\n"
        "  Site = #{site => \"mysite\", backup_dir => \"/backups/mysite\", media_dir => \"/site/files/archive\",\n"
        "           config_files => [\"/site/priv/zotonic_site.config\"], security_dir => \"/site/security\",\n"
        "           database => #{user => \"zotonic\", password => \"secret\", dbname => \"zotonic\",\n"
        "                         schema => \"mysite\", host => \"localhost\", port => 5432},\n"
        "           encryption => #{password_file => \"/root/backup-password\"}}.\n"
        "\n"
        "  Only site and backup_dir are needed, and something to back up. What else there can be:\n"
        "  timezone, database_only => true, day => {2026,8,2}, encryption => #{password => \"secret\"}.\n"
        "\n"
        "  zbackup:shell_backup(SITE).          make a backup\n"
        "  zbackup:shell_list(SITE).            what backups there are\n"
        "  zbackup:shell_verify(SITE).          prove that they are whole\n"
        "  zbackup:shell_verify(SITE, [NAME]).  prove some of them\n"
        "  zbackup:shell_restore(SITE, NAME).   bring the site back; NAME \"recent\" is the newest\n"
        "  zbackup:shell_restore(SITE, NAME, [database, files, config, security]).   or some of it\n"
        "  zbackup:shell_restore(SITE, NAME, [trust_dump]).   also one that is not encrypted: its SQL can do\n"
        "                                       what the database's user can\n"
        "  zbackup:shell_push(SITE).            upload to the offsite store\n"
        "  zbackup:shell_pull(SITE).            download what it has and this machine has not\n"
        "\n"
        "In a program, these start a job and return at once:\n"
        "\n"
        "  {ok, Job} = zbackup:backup(Site).    also verify/1-3, restore/2,3, encrypt/3, decrypt/3\n"
        "  {ok, Result} = zbackup:await(Job).   or {error, Kind, Message}\n"
        "  ok = zbackup:cancel(Job).            it leaves nothing behind\n"
        "  {ok, #{backups := Backups}} = zbackup:list(Site).   at once, without a job\n"
    ]).

-spec backup(site()) -> ok | zbackup:error().
backup(Site) ->
    Start = erlang:monotonic_time(millisecond),
    case run(zbackup:backup(request(Site))) of
        {ok, Report} ->
            report(Report, erlang:monotonic_time(millisecond) - Start);
        {error, _, _} = Error ->
            failed(Error)
    end.

-spec list(site()) -> ok | zbackup:error().
list(Site) ->
    case zbackup:list(request(Site)) of
        {ok, Listing} -> listing(Listing);
        {error, _, _} = Error -> failed(Error)
    end.

-spec verify(site(), [zbackup:text()]) -> ok | zbackup:error().
verify(Site, Names) ->
    case run(zbackup:verify(request(Site), Names)) of
        {ok, #{backups := []}} ->
            failed({error, not_found, <<"nothing was proven: there are no backups">>});
        {ok, #{ok := Ok, backups := Backups}} ->
            lists:foreach(fun verified/1, Backups),
            case Ok of
                true -> ok;
                false -> {error, kind(Backups), <<"not everything is proven: see above">>}
            end;
        {error, _, _} = Error ->
            failed(Error)
    end.

-spec restore(site(), zbackup:text(), [zbackup:piece() | trust_dump]) -> ok | zbackup:error().
restore(Site, Name, Words) ->
    {Trust, Only} = lists:partition(fun(Word) -> Word =:= trust_dump end, Words),
    Options = #{only => Only, trust_dump => Trust =/= []},
    case run(zbackup:restore(request(Site), Name, Options)) of
        {ok, Report} -> restored(Report);
        {error, _, _} = Error -> failed(Error)
    end.

-spec push(site()) -> ok | zbackup:error().
push(Site) ->
    case run(zbackup:push(request(Site))) of
        {ok, #{store := Store, uploaded := Uploaded, already := Already, warnings := Warnings} = Pushed} ->
            lists:foreach(fun(Backup) -> copied(Backup, "uploaded") end, Uploaded),
            io:format("~b there already, in ~ts~n", [length(Already), printable(Store)]),
            copies(Pushed, Warnings);
        {error, _, _} = Error ->
            failed(Error)
    end.

-spec pull(site()) -> ok | zbackup:error().
pull(Site) ->
    case run(zbackup:pull(request(Site))) of
        {ok, #{pulled := New, already := Already, warnings := Warnings, newest := Newest} = Pulled} ->
            lists:foreach(
                fun
                    (#{is_proven := true} = Backup) -> copied(Backup, "downloaded");
                    (Backup) -> copied(Backup, "downloaded, NOT PROVEN")
                end,
                New
            ),
            io:format("~b here already~n", [length(Already)]),
            case Newest of
                #{name := Name, timestamp := Time} ->
                    io:format("The newest complete backup is ~ts of ~s~n", [printable(Name), time(Time)]);
                undefined ->
                    io:put_chars("There is no complete backup.\n")
            end,
            copies(Pulled, lists:append([Notes || #{notes := Notes} <- New]) ++ Warnings);
        {error, _, _} = Error ->
            failed(Error)
    end.

copied(#{name := Name, timestamp := Time, bytes := Bytes}, What) ->
    io:format("~-20ts ~s ~10s  ~s~n", [printable(Name), time(Time), human(Bytes), What]).

copies(#{problems := Problems}, Warnings) ->
    lists:foreach(
        fun(Warning) -> io:format("Warning: ~ts~n", [message(Warning)]) end,
        Warnings
    ),
    lists:foreach(
        fun(#{name := Name, reason := Reason}) ->
            io:format("Not copied: ~ts: ~ts~n", [printable(Name), message(Reason)])
        end,
        Problems
    ),
    case Problems of
        [] -> ok;
        [#{kind := Kind} | _] -> {error, Kind, <<"not everything is copied: see above">>}
    end.

request(Site) when is_binary(Site) -> #{config => Site};
request([_ | _] = Site) -> #{config => Site};
request(Site) -> Site.

run({ok, Job}) ->
    {Result, View} = zbackup:await(Job, fun show/2, view()),
    clear(View),
    Result;
run({error, _, _} = Error) ->
    Error.

failed({error, Kind, Message} = Error) ->
    io:format("Failed (~s): ~ts~n", [Kind, message(Message)]),
    Error.

%% Progress

view() ->
    case io:columns() of
        {ok, Columns} when Columns > 20 -> #view{columns = Columns};
        _ -> #view{columns = plain}
    end.

show(#{phase := Phase} = Progress, #view{columns = plain} = View) ->
    Now = erlang:monotonic_time(millisecond),
    case Phase =/= View#view.phase orelse Now - View#view.told >= ?QUIET of
        true ->
            io:format("~ts~n", [progress(Progress)]),
            View#view{phase = Phase, told = Now};
        false ->
            View
    end;
show(Progress, #view{columns = Columns, width = Width} = View) ->
    %% Never all of the line: the cursor would go to the next one.
    Line = string:slice(progress(Progress), 0, Columns - 1),
    Length = string:length(Line),
    io:put_chars(["\r", Line, lists:duplicate(max(0, Width - Length), $\s)]),
    View#view{width = Length}.

clear(#view{columns = plain}) -> ok;
clear(#view{width = Width}) -> io:put_chars(["\r", lists:duplicate(Width, $\s), "\r"]).

progress(#{phase := Phase, done := Done, total := Total, rate := Rate}) ->
    Share = case Total of
        undefined -> "     ";
        0 -> "100% ";
        _ -> io_lib:format("~3b% ", [min(100, Done * 100 div Total)])
    end,
    Of = case Total of
        undefined -> "";
        _ -> [" of ", human(Total)]
    end,
    Speed = case Rate of
        _ when Rate < 50000 -> "";
        _ -> ["  ", io_lib:format("~.1f MB/s", [Rate / 1.0e6])]
    end,
    io_lib:format("~-13s ~s ~s~s~s", [phase(Phase), Share, human(Done), Of, Speed]).

phase(database) -> "database";
phase(config) -> "configuration";
phase(files) -> "files";
phase(verify) -> "proving";
phase(unpack) -> "unpacking";
phase(load) -> "loading";
phase(place) -> "moving";
phase(security) -> "security";
phase(upload) -> "uploading";
phase(download) -> "downloading";
phase(encrypt) -> "encrypting";
phase(decrypt) -> "decrypting";
phase(_) -> "working".

%% Results

report(#{backup := Backup, made := Made, skipped := Skipped, warnings := Warnings}, Milliseconds) ->
    #{name := Name, is_encrypted := IsEncrypted} = Backup,
    io:format("Backup ~ts made in ~.1f s, ~s:~n", [
        printable(Name),
        Milliseconds / 1000,
        case IsEncrypted of true -> "encrypted"; false -> "not encrypted" end
    ]),
    lists:foreach(
        fun(#{part := Part, file := File, source_bytes := From, size := Size}) ->
            io:format("  ~-13s  ~-36ts ~10s  from ~s~n",
                      [phase(Part), printable(File), human(Size), human(From)])
        end,
        Made
    ),
    kept(Backup, Made),
    warnings(Warnings),
    some("Not in the backup as on the disk", Skipped, fun(#{path := Path, reason := Reason}) ->
        io:format("  ~ts: ~ts~n", [printable(Path), message(Reason)])
    end).

restored(#{backup := #{name := Name}, restored := Restored, tables := Tables, skipped := Skipped,
           warnings := Warnings}) ->
    io:format("~ts is restored:~n", [printable(Name)]),
    lists:foreach(
        fun(#{piece := Piece, entries := Entries, bytes := Bytes}) ->
            What = case Piece of
                database -> io_lib:format("~b rows in ~b tables", [Entries, length(Tables)]);
                _ -> io_lib:format("~b files and folders", [Entries])
            end,
            io:format("  ~-13s  ~s, ~s~n", [phase(Piece), What, human(Bytes)])
        end,
        Restored
    ),
    warnings(Warnings),
    some("Not on the disk as in the backup", Skipped, fun(#{path := Path, reason := Reason}) ->
        io:format("  ~ts: ~ts~n", [printable(Path), message(Reason)])
    end).

warnings(Warnings) ->
    lists:foreach(
        fun(Warning) -> io:format("Warning: ~ts~n", [message(Warning)]) end,
        Warnings
    ).

%% A backup of only the database has the files of before.
kept(#{files := #{file := File}, files_timestamp := Time}, _) when is_integer(Time) ->
    io:format("  ~-13s  ~-36ts  kept from ~s~n", [phase(files), printable(File), time(Time)]);
kept(_, _) ->
    ok.

some(_, [], _) ->
    ok;
some(Title, Items, Show) ->
    io:format("~s (~b):~n", [Title, length(Items)]),
    lists:foreach(Show, lists:sublist(Items, ?MOST_LINES)),
    case length(Items) - ?MOST_LINES of
        More when More > 0 -> io:format("  ... and ~b more~n", [More]);
        _ -> ok
    end.

listing(#{backups := [], refused := []}) ->
    io:put_chars("There are no backups yet.\n");
listing(#{backups := Backups, refused := Refused}) ->
    io:format("~-20s ~-19s ~10s  ~-9s  ~s~n", ["name", "made", "size", "encrypted", "has"]),
    lists:foreach(fun listed/1, Backups),
    lists:foreach(
        fun(#{name := Name, reason := Reason}) ->
            io:format("~-20ts cannot be used: ~ts~n", [printable(Name), message(Reason)])
        end,
        Refused
    ).

listed(#{name := Name, timestamp := Time, size := Size, is_encrypted := IsEncrypted,
         missing := Missing} = Backup) ->
    Parts = [
        Part || {Key, Part} <- [
            {is_database_present, "database"},
            {is_config_files_present, "configuration"},
            {is_files_present, files(Backup)}
        ],
        maps:get(Key, Backup)
    ],
    io:format("~-20ts ~s ~10s  ~-9s  ~s~n", [
        printable(Name),
        time(Time),
        human(Size),
        case IsEncrypted of true -> "yes"; false -> "no" end,
        lists:join(", ", Parts)
    ]),
    lists:foreach(
        fun(File) ->
            io:format("  missing, or not as long as it should be: ~ts~n", [printable(File)])
        end,
        Missing
    ).

files(#{files_timestamp := Time}) when is_integer(Time) -> ["files (of ", time(Time), ")"];
files(_) -> "files".

verified(#{name := Name, ok := Ok, parts := Parts, problem := Problem}) ->
    io:format("~ts: ~s~n", [printable(Name), verdict(Ok)]),
    lists:foreach(fun verified_part/1, Parts),
    case Problem of
        undefined -> ok;
        _ -> io:format("  ~ts~n", [message(Problem)])
    end.

verified_part(#{part := Part, file := File} = Verified) ->
    io:format("  ~-13s  ~-36ts ~ts~n", [phase(Part), printable(File), found(Verified)]).

found(#{ok := false, problem := Problem}) ->
    ["NOT PROVEN: ", message(Problem)];
found(#{part := Part, encryption := Encryption, contents := #{entries := Entries, bytes := Bytes},
        note := Note}) ->
    [
        io_lib:format("~s: ~b ~s, ~s", [
            case Encryption of
                z2 -> "hash, authentication, content";
                _ -> "hash, content"
            end,
            Entries,
            case Part of database -> "lines"; _ -> "entries" end,
            human(Bytes)
        ]),
        case Note of
            undefined -> "";
            _ -> [" (", message(Note), ")"]
        end
    ].

%% Of what is wrong: one kind, when there is only one.
kind(Backups) ->
    Kinds = [Kind || #{parts := Parts} <- Backups, #{ok := false, kind := Kind} <- Parts],
    case lists:usort(Kinds) of
        [Kind] when Kind =/= undefined -> Kind;
        _ -> damaged
    end.

verdict(true) -> "proven";
verdict(false) -> "NOT PROVEN".

%% Words

human(Bytes) when Bytes < 1000 -> io_lib:format("~b B", [Bytes]);
human(Bytes) -> human(Bytes / 1000, ["kB", "MB", "GB", "TB"]).

human(Number, [_, Next | Rest]) when Number >= 999.95 -> human(Number / 1000, [Next | Rest]);
human(Number, [Unit | _]) -> io_lib:format("~.1f ~s", [Number, Unit]).

time(Seconds) ->
    {{Year, Month, Day}, {Hour, Minute, Second}} =
        calendar:system_time_to_local_time(Seconds, second),
    io_lib:format("~4..0b-~2..0b-~2..0b ~2..0b:~2..0b:~2..0b",
                  [Year, Month, Day, Hour, Minute, Second]).

%% A name on a disk can hold anything, also commands for the terminal.
printable(Name) ->
    [case is_control(Char) of true -> $?; false -> Char end || Char <- unicode:characters_to_list(Name)].

%% A message may have more than one line.
message(Text) ->
    lists:join($\n, [printable(Line) || Line <- string:split(string:trim(Text), "\n", all)]).

is_control(Char) ->
    Char < 32 orelse (Char >= 127 andalso Char < 160).
