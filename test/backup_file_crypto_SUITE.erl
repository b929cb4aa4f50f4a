%% @doc What `bin/zotonic decrypt' calls, as it calls it: in an Erlang VM of its own, with nothing started,
%% by `erl -pa ebin'.
-module(backup_file_crypto_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-export([all/0, suite/0, init_per_testcase/2]).
-export([
    round_trip/1,
    names_and_passwords_of_all_kinds/1,
    is_encrypted_goes_by_the_name/1,
    old_format/1,
    wrong_password/1,
    no_password/1,
    no_outfile/1,
    existing_output_is_replaced_only_by_a_whole_one/1,
    other_errors_can_be_read/1,
    password_of_the_command_line/1,
    without_the_native_library/1
]).

-define(CRYPTO, backup_file_crypto).

suite() ->
    [{timetrap, {minutes, 2}}].

all() ->
    [Name || {Name, 1} <- ?MODULE:module_info(exports), Name =/= module_info].

init_per_testcase(Name, Config) ->
    [{dir, test_site:dir(Name, Config)} | Config].

round_trip(Config) ->
    {In, Bytes} = input(Config, "in.sql.gz"),
    ?assertEqual({ok, In ++ ".enc"}, bare(password_encrypt, [In, "secret"])),
    {ok, <<"Z2", _/binary>>} = file:read_file(In ++ ".enc"),
    ok = file:delete(In),
    ?assertEqual({ok, In}, bare(password_decrypt, [In ++ ".enc", <<"secret">>])),
    ?assertEqual({ok, Bytes}, file:read_file(In)),
    ?assertEqual({ok, In ++ ".2"}, bare(password_decrypt, [In ++ ".enc", In ++ ".2", <<"secret">>])),
    ?assertEqual({ok, Bytes}, file:read_file(In ++ ".2")).

names_and_passwords_of_all_kinds(Config) ->
    {In, Bytes} = input(Config, "naïve ☃"),
    Binary = unicode:characters_to_binary(In),
    Password = "gehéim ☃",
    Kinds = [{Name, Given} || Name <- [In, Binary], Given <- [Password, unicode:characters_to_binary(Password)]],
    [
        begin
            Sealed = with_enc(Name),
            ?assertEqual({ok, Sealed}, ?CRYPTO:password_encrypt(Name, Given)),
            ?assert(?CRYPTO:is_encrypted(Sealed)),
            ok = file:delete(Name),
            ?assertEqual({ok, Name}, ?CRYPTO:password_decrypt(Sealed, Other)),
            ?assertEqual({ok, Bytes}, file:read_file(Name)),
            ?assertEqual({ok, Name}, ?CRYPTO:password_encrypt(Name, Name, Given)),
            ?assertEqual({ok, Name}, ?CRYPTO:password_decrypt(Name, Name, Other)),
            ?assertEqual({ok, Bytes}, file:read_file(Name))
        end
     || {Name, Given} <- Kinds, {_, Other} <- Kinds
    ].

with_enc(Name) when is_list(Name) -> Name ++ ".enc";
with_enc(Name) -> <<Name/binary, ".enc">>.

is_encrypted_goes_by_the_name(_Config) ->
    [?assert(?CRYPTO:is_encrypted(Name)) || Name <- ["a.enc", "/b/a.tar.gz.enc", <<"a.enc">>, <<255, ".enc">>]],
    [?assertNot(?CRYPTO:is_encrypted(Name)) || Name <- ["a", "enc", "a.enc/b", "a.enc.gz", <<"a.tar.gz">>, <<>>, ""]].

old_format(Config) ->
    {In, Bytes} = input(Config, "in"),
    ok = file:write_file(In ++ ".enc", z1(Bytes, <<"secret">>)),
    ok = file:delete(In),
    ?assertEqual({error, wrong_password}, bare(password_decrypt, [In ++ ".enc", <<"secre">>])),
    ?assertNot(filelib:is_file(In)),
    ?assertEqual({ok, In}, bare(password_decrypt, [In ++ ".enc", <<"secret">>])),
    ?assertEqual({ok, Bytes}, file:read_file(In)).

%% As docs/encryption-format.md has it.
z1(Bytes, Password) ->
    Iterations = 1000,
    Salt = crypto:strong_rand_bytes(16),
    <<Iv:16/binary, Key/binary>> = crypto:pbkdf2_hmac(sha256, Password, Salt, Iterations, 48),
    Check = crypto:mac(hmac, sha256, Password, <<Salt/binary, Password/binary>>),
    Sealed = crypto:crypto_one_time(aes_256_cfb8, Key, Iv, [Check, Bytes], true),
    [<<"Z1", Iterations:32/little>>, Salt, Sealed].

wrong_password(Config) ->
    {In, Bytes} = input(Config, "in"),
    {ok, Sealed} = ?CRYPTO:password_encrypt(In, "secret"),
    ?assertEqual({error, wrong_password}, bare(password_decrypt, [Sealed, <<"not it">>])),
    ?assertEqual({ok, Bytes}, file:read_file(In)),
    Out = In ++ ".out",
    ?assertEqual({error, wrong_password}, bare(password_decrypt, [Sealed, Out, <<"not it">>])),
    ?assertEqual(["in", "in.enc"], folder(Config)).

no_password(Config) ->
    {In, _} = input(Config, "in"),
    [
        ?assertEqual({error, no_password}, Result)
     || Empty <- [undefined, <<>>, ""],
        Result <- [
            ?CRYPTO:password_encrypt(In, Empty),
            ?CRYPTO:password_encrypt(In, In ++ ".enc", Empty),
            ?CRYPTO:password_decrypt(In ++ ".enc", Empty),
            ?CRYPTO:password_decrypt(In, In ++ ".out", Empty)
        ]
    ],
    ?assertEqual(["in"], folder(Config)).

no_outfile(Config) ->
    {In, _} = input(Config, "in"),
    ?assertEqual({error, no_outfile}, bare(password_decrypt, [In, <<"secret">>])),
    ?assertEqual({error, no_outfile}, ?CRYPTO:password_decrypt(list_to_binary(In), <<"secret">>)).

existing_output_is_replaced_only_by_a_whole_one(Config) ->
    {In, Bytes} = input(Config, "in"),
    Out = filename:join(?config(dir, Config), "out"),
    {ok, Sealed} = ?CRYPTO:password_encrypt(In, "secret"),
    {ok, Whole} = file:read_file(Sealed),
    Damaged = filename:join(?config(dir, Config), "damaged.enc"),
    Middle = byte_size(Whole) div 2,
    <<Head:Middle/binary, Byte, Tail/binary>> = Whole,
    ok = file:write_file(Out, "precious"),
    [
        begin
            ok = file:write_file(Damaged, Contents),
            ?assertMatch({error, {damaged, _}}, ?CRYPTO:password_decrypt(Damaged, Out, "secret")),
            ?assertEqual({ok, <<"precious">>}, file:read_file(Out))
        end
     || Contents <- [Head, [Head, Byte bxor 16, Tail], [Whole, 0], "", "no encrypted file"]
    ],
    ?assertEqual({error, wrong_password}, ?CRYPTO:password_decrypt(Sealed, Out, "wrong")),
    ?assertEqual({ok, <<"precious">>}, file:read_file(Out)),
    ?assertEqual({ok, Out}, ?CRYPTO:password_decrypt(Sealed, Out, "secret")),
    ?assertEqual({ok, Bytes}, file:read_file(Out)),
    ?assertEqual(["damaged.enc", "in", "in.enc", "out"], folder(Config)).

other_errors_can_be_read(_Config) ->
    {error, {not_found, Message}} = ?CRYPTO:password_decrypt("/no/such.enc", "secret"),
    ?assert(is_binary(Message)),
    %% As the launcher of Zotonic prints it.
    [
        begin
            {error, {not_found, _} = Reason} = ?CRYPTO:password_decrypt(Name, "secret"),
            Shown = lists:flatten(io_lib:format("~p", [Reason])),
            ?assertNotEqual({nomatch, Shown}, {string:find(Shown, "cannot read"), Shown})
        end
     || Name <- ["/no/such.enc", "/no/süch.enc", "/no/☃.enc", <<"/no/☃.enc"/utf8>>, "/no/\x{7f}.enc"]
    ],
    ?assertMatch({error, {usage, _}}, ?CRYPTO:password_decrypt(a, "secret")),
    ?assertMatch({error, {usage, _}}, ?CRYPTO:password_decrypt(a, b, "secret")),
    ?assertMatch({error, {usage, _}}, ?CRYPTO:password_encrypt(1, "secret")),
    ?assertMatch({error, {usage, _}}, ?CRYPTO:password_encrypt("/a", "/b", {secret})).

%% bin/zotonic makes a binary of the letters that it gets, one byte for each.
password_of_the_command_line(Config) ->
    {In, _} = input(Config, "in"),
    {ok, Sealed} = ?CRYPTO:password_encrypt(In, <<"gehéim"/utf8>>),
    ?assertEqual({ok, In}, ?CRYPTO:password_decrypt(Sealed, list_to_binary("gehéim"))).

%% Without the native library there is an answer that says what to do.
without_the_native_library(Config) ->
    Ebin = filename:join(?config(dir, Config), "ebin"),
    ok = filelib:ensure_dir(filename:join(Ebin, "x")),
    [
        {ok, _} = file:copy(code:which(Module), filename:join(Ebin, atom_to_list(Module) ++ ".beam"))
     || Module <- [zbackup, zbackup_nif, zbackup_request, backup_file_crypto]
    ],
    Call = [?CRYPTO, password_decrypt, ["/in.enc", "secret"]],
    {error, {internal, Message}} = node_of(?config(dir, Config), Call),
    ?assertNotEqual(nomatch, string:find(Message, "scripts/build-nif")).

%% Helpers

input(Config, Name) ->
    In = filename:join(?config(dir, Config), Name),
    Bytes = crypto:strong_rand_bytes(100000),
    ok = file:write_file(In, Bytes),
    {In, Bytes}.

folder(Config) ->
    {ok, Names} = file:list_dir_all(?config(dir, Config)),
    lists:sort(Names).

%% The answer of a function of the module in a bare VM.
bare(Function, Args) ->
    Ebin = filename:dirname(code:which(?CRYPTO)),
    node_of(filename:dirname(Ebin), [?CRYPTO, Function, Args]).

%% The answer of a function in a VM that was started in a folder with `ebin' in it. Call and answer travel
%% as terms in text.
node_of(Dir, Call) ->
    Encode = fun(Term) -> binary_to_list(base64:encode(term_to_binary(Term))) end,
    Eval = "[M, F, A] = binary_to_term(base64:decode(\"" ++ Encode(Call) ++ "\")), "
           "R = apply(M, F, A), "
           "Started = [App || {App, _, _} <- application:which_applications()], "
           "io:format(\"~s\", [base64:encode(term_to_binary({lists:sort(Started), R}))]), halt().",
    Port = open_port(
        {spawn_executable, os:find_executable("erl")},
        [{args, ["-noshell", "-pa", "ebin", "-eval", Eval]}, {cd, Dir}, binary, exit_status, stderr_to_stdout]
    ),
    {0, Output} = collect(Port, <<>>),
    {[kernel, stdlib], Answer} = binary_to_term(base64:decode(Output)),
    Answer.

collect(Port, Output) ->
    receive
        {Port, {data, More}} -> collect(Port, <<Output/binary, More/binary>>);
        {Port, {exit_status, Status}} -> {Status, Output}
    end.
