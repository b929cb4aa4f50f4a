%% @doc The native library as a file: it tells nothing of who built it and where.
-module(nif_file_tests).

-include_lib("eunit/include/eunit.hrl").

no_path_of_this_machine_test() ->
    File = filename:join(code:priv_dir(zotonic_mod_backup), "zbackup_nif.so"),
    {ok, Library} = file:read_file(File),
    %% Where it really is: rebar3 makes links.
    Real = string:trim(os:cmd("readlink -f '" ++ File ++ "'")),
    Checkout = filename:dirname(filename:dirname(Real)),
    Paths = [Path || Path <- [Checkout, os:getenv("HOME"), os:getenv("CARGO_HOME")], is_list(Path), length(Path) > 1],
    [
        ?assertEqual({Path, nomatch}, {Path, binary:match(Library, unicode:characters_to_binary(Path ++ "/"))})
     || Path <- Paths
    ],
    %% Else nothing was looked for: messages of a panic do name files.
    ?assertNotEqual(nomatch, binary:match(Library, <<"cargo/registry/src/">>)).
