%% @doc Encrypts and decrypts a file with a password. `bin/zotonic decrypt' calls this in an Erlang VM of
%% its own, where no application is started. It shows a reason with `~p', so that errors are made to be
%% read that way.
-module(backup_file_crypto).

-export([
    is_encrypted/1,
    password_encrypt/2, password_encrypt/3,
    password_decrypt/2, password_decrypt/3
]).

-type filename() :: string() | unicode:unicode_binary().
-type password() :: string() | binary() | undefined.
-type reason() ::
    wrong_password
    | no_password
    | no_outfile
    | {zbackup:kind(), Message :: string() | unicode:unicode_binary()}.

-export_type([filename/0, password/0, reason/0]).

%% @doc Whether a file is an encrypted one, by its name.
-spec is_encrypted(filename()) -> boolean().
is_encrypted(Filename) ->
    lists:member(filename:extension(Filename), [".enc", <<".enc">>]).

%% @doc Encrypts a file. The output is called as the input with `.enc' behind it.
-spec password_encrypt(filename(), password()) -> {ok, filename()} | {error, reason()}.
password_encrypt(In, Password) when is_binary(In) ->
    password_encrypt(In, <<In/binary, ".enc">>, Password);
password_encrypt(In, Password) when is_list(In) ->
    password_encrypt(In, In ++ ".enc", Password);
password_encrypt(_, _) ->
    no_filename().

%% @doc Encrypts a file to another one, which is replaced when it is there and all went well.
-spec password_encrypt(filename(), filename(), password()) -> {ok, filename()} | {error, reason()}.
password_encrypt(In, Out, Password) when is_binary(Out); is_list(Out) ->
    run(fun zbackup:encrypt/4, In, Out, Password);
password_encrypt(_, _, _) ->
    no_filename().

%% @doc Decrypts a file. The output is called as the input without `.enc'.
-spec password_decrypt(filename(), password()) -> {ok, filename()} | {error, reason()}.
password_decrypt(In, Password) when is_binary(In); is_list(In) ->
    case is_encrypted(In) of
        true -> password_decrypt(In, filename:rootname(In), Password);
        false -> {error, no_outfile}
    end;
password_decrypt(_, _) ->
    no_filename().

%% @doc Decrypts a file to another one, which is replaced when it is there and all of the input has
%% authenticated. After an error it is as it was.
-spec password_decrypt(filename(), filename(), password()) -> {ok, filename()} | {error, reason()}.
password_decrypt(In, Out, Password) when is_binary(Out); is_list(Out) ->
    run(fun zbackup:decrypt/4, In, Out, Password);
password_decrypt(_, _, _) ->
    no_filename().

run(_, _, _, Password) when Password =:= undefined; Password =:= <<>>; Password =:= "" ->
    {error, no_password};
run(Start, In, Out, Password) ->
    case Start(In, Out, utf8(Password), #{force => true}) of
        {ok, Job} -> result(zbackup:await(Job), Out);
        {error, _, _} = Error -> result(Error, Out)
    end.

result({ok, _}, Out) -> {ok, Out};
result({error, wrong_password, _}, _) -> {error, wrong_password};
result({error, no_password, _}, _) -> {error, no_password};
result({error, Kind, Message}, _) -> {error, {Kind, readable(Message)}}.

%% A password is text in UTF-8 everywhere. The command line of bin/zotonic gives it in Latin-1, as far as
%% that goes.
utf8(Password) when is_binary(Password) ->
    case unicode:characters_to_binary(Password) of
        Password -> Password;
        _ -> unicode:characters_to_binary(Password, latin1)
    end;
utf8(Password) ->
    Password.

%% `~p' shows a binary with letters beyond ASCII as a list of numbers. A string of Latin-1 letters it
%% shows as text; for what is beyond that, names are given with question marks.
readable(Message) ->
    case unicode:characters_to_list(Message) of
        Text when is_list(Text) ->
            case lists:all(fun(Char) -> Char < 127 end, Text) of
                true -> Message;
                false -> [printable(Char) || Char <- Text]
            end;
        _ ->
            Message
    end.

printable(Char) ->
    case io_lib:printable_latin1_list([Char]) of
        true -> Char;
        false -> $?
    end.

no_filename() ->
    {error, {usage, <<"the name of a file should be a string or a binary">>}}.
