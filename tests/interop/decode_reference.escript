#!/usr/bin/env escript
%% escript decode_reference.escript REQUESTS ANSWERS: what Erlang itself answers to the requests of `gensock decode` (the line
%% protocol is told at the top of cli/decode.c). decode_diff.py compares the two.
-mode(compile).

main([Requests, Answers]) ->
    {ok, In} = file:read_file(Requests),
    ok = file:write_file(Answers, [[answer(Line), $\n] || Line <- binary:split(In, <<"\n">>, [global, trim])]);
main(_) ->
    io:format(standard_error, "usage: decode_reference.escript REQUESTS ANSWERS~n", []),
    halt(2).

answer(Line) ->
    [Id, Type, Size, Length, Delimiter, Hex] = binary:split(Line, <<" ">>, [global]),
    Limits = [{packet_size, binary_to_integer(Size)}, {line_length, binary_to_integer(Length)}],
    Options = [{line_delimiter, binary_to_integer(Delimiter)} || Type =:= <<"line">>] ++ Limits,
    try erlang:decode_packet(type(Type), bytes(Hex), Options) of
        {ok, Packet, Rest} -> [Id, " ok ", packet(Packet), $\s, hex(Rest)];
        {more, undefined} -> [Id, " more undefined"];
        {more, N} -> [Id, " more ", integer_to_list(N)];
        {error, invalid} -> [Id, " error invalid"]
    catch
        error:badarg -> [Id, " badarg"]
    end.

type(<<Digit>>) when Digit >= $0, Digit =< $9 -> Digit - $0;
type(Name) -> binary_to_atom(Name).

packet(http_eoh) -> "eoh";
packet({http_error, Line}) -> ["err:", hex(Line)];
packet({http_request, Method, Uri, Version}) -> ["req:", name(Method), $:, uri(Uri), $:, version(Version)];
packet({http_response, Version, Status, Phrase}) ->
    ["rsp:", version(Version), $:, integer_to_list(Status), $:, hex(Phrase)];
packet({http_header, N, Name, Original, Value}) ->
    ["hdr:", integer_to_list(N), $:, name(Name), $:, hex(Original), $:, hex(Value)];
packet({ssl_tls, [], Content, Version, Data}) ->
    ["ssl:", integer_to_list(Content), $:, version(Version), $:, hex(Data)];
packet(Bytes) when is_binary(Bytes) -> ["b:", hex(Bytes)].

name(Name) when is_atom(Name) -> ["a/", atom_to_list(Name)];
name(Name) -> ["s/", hex(Name)].

uri('*') -> "*";
uri({abs_path, Path}) -> ["abs/", hex(Path)];
uri({absoluteURI, Scheme, Host, Port, Path}) ->
    ["uri/", atom_to_list(Scheme), $/, hex(Host), $/, port(Port), $/, hex(Path)];
uri({scheme, Scheme, Rest}) -> ["scheme/", hex(Scheme), $/, hex(Rest)];
uri(Text) -> ["str/", hex(Text)].

port(undefined) -> "undefined";
port(Port) -> integer_to_list(Port).

version({Major, Minor}) -> [integer_to_list(Major), $., integer_to_list(Minor)].

bytes(<<"-">>) -> <<>>;
bytes(Hex) -> binary:decode_hex(Hex).

hex(Empty) when Empty =:= <<>>; Empty =:= [] -> "-";
hex(Text) when is_list(Text) -> hex(list_to_binary(Text));
hex(Bytes) -> [[digit(B bsr 4), digit(B band 15)] || <<B>> <= Bytes].

digit(D) when D < 10 -> $0 + D;
digit(D) -> $a + D - 10.
